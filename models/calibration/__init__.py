"""One scale for the scores of every detector: how rarely ordinary tape reaches them. The detectors are elsewhere."""
