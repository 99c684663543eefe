"""What each feature is: window, warm-up, inputs, source and null policy, by table."""
