//! The query engine: SQL over registered tables, by DataFusion, within bounds.
