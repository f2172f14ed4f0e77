"""A linear bag of words: tf-idf weighted words and n-grams straight to the labels' scores."""
