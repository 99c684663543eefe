"""The paper broker: the engine along the live tape, with its state in the database, risk states and protections."""
