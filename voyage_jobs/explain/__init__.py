"""What happened to one thing: a document, a chunk, a batch, an embedding."""
