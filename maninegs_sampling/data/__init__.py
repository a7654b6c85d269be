"""Tables to bits: reading, traits, schemas, the store and its file format."""
