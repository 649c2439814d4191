//! What is drawn: scene families as specs and plans, and the instances sampled from them.
