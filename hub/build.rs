//! Builds again when what is embedded has changed: the pages, and the tables' migrations.

fn main() {
    for path in ["../dashboards/dist", "migrations"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
