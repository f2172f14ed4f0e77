"""Who says what a derivative is: autodiff, numerical derivatives, the interval at a kink, many digits. None judges."""
