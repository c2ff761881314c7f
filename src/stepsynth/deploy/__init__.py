"""What leaves a run: an ONNX file, a data set and a model with cards for the Hugging Face hub."""
