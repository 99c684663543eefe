"""An LSTM autoencoder over windows of minutes: Keras trains it, NumPy scores with the weights."""
