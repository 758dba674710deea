"""Images and a model folder to a run folder, streamed field by field."""
