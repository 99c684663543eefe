"""The features in Feast: definitions, the offline store on the lake, the online store, and what the assets do with them."""
