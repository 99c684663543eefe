"""What a detector looks at as a whole: importance of features and of groups of them, and how steady it is across retrainings."""
