"""The wall around seats: what each may reach of the internet, the server and its neighbours."""
