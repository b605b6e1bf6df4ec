"""Start the app and its Streamlit page together with `python -m frontend`.

The same as `python -m app`, one address more.
"""

import os
from pathlib import Path

import uvicorn

# Streamlit takes over uvicorn's log. With uvicorn's own settings each line would stand there twice.
LOGGING = Path(__file__).with_name("logging.json")

if __name__ == "__main__":
    port = os.environ.get("PORT", "8000")
    uvicorn.main(["frontend.serve:app", "--port", port, "--log-config", str(LOGGING)])
