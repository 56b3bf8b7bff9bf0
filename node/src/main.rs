//! The binary `tapehouse`; everything is in the library.

fn main() -> std::process::ExitCode {
    tapehouse_node::main()
}
