"""How users prove who they are: passwords, throttling, reset links, devices, alerts."""
