//! Derivatives checked against finite differences.
