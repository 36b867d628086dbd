"""What rule filters count of a text: words, lines, repetitions."""
