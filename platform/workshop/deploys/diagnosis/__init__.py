"""Why a version does not go live, in words for somebody who has never used Docker before."""
