//! Safe librados and librbd, loaded at run time.
