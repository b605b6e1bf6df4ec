"""Start the server with `python -m app`; the image does the same.

uvicorn reads its options from variables named `UVICORN_...`, so the server can tell it the address
it stands behind (UVICORN_ROOT_PATH). Only the port arrives under the plain name PORT.
"""

import gc
import os

import uvicorn

if __name__ == "__main__":
    gc.set_threshold(50_000)  # look for garbage less often: the start is a tenth quicker
    uvicorn.main(["app.main:app", "--port", os.environ.get("PORT", "8000")])
