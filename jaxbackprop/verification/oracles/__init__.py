"""What a gradient is compared with: autodiff, numerical derivatives, subgradient intervals, many digits."""
