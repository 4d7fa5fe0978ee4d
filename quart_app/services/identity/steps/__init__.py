"""Steps of use cases about who a user is: throttling, comparing, alerting, checking rights."""
