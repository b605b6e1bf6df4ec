"""The prefix proof: an app visited the way its visitors do, for addresses that leave its prefix."""
