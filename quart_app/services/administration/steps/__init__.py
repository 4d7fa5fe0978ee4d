"""Steps of use cases that administrators and the operator share."""
