"""Images: where they come from, how they are kept, and how batches are made of them."""
