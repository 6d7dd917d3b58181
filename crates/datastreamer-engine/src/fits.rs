//! FITS tables as tables of the engine.
