"""Problem 2: strong and weak scaling with tf.distribute."""
