"""Properties that must hold of whatever a client or a model may send; a short run here, a long one by ``make soak``."""
