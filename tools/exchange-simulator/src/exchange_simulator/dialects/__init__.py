"""One module per exchange: how it is asked and how it answers. Pure: a question and an instant give a reply."""
