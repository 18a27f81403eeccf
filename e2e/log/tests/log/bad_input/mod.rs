//! What is wrong is refused, and the text says what is wrong and what to do.

mod batches;
mod command_line;
mod damage;
mod places;
mod requests;
mod streams;
