//! Every error code that a user can meet, in one list. Each has a page under `docs/errors/`, which is compiled in: a code
//! without a page does not build.

/// Where a code is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A topic's pipeline: log lines, `/readyz`, `status`, the labels of metrics.
    Pipeline,
    /// A record: the column `decode_error`.
    Record,
    /// A command that fails: its message.
    Command,
    /// A gRPC request that is refused: `tapehouse-code` beside its status.
    Request,
}

impl Met {
    /// The heading in the index of the pages.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Pipeline => "A topic's pipeline",
            Self::Record => "A record: column `decode_error`",
            Self::Command => "A command",
            Self::Request => "A gRPC request",
        }
    }
}

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As logs, metrics and messages name it.
    pub name: &'static str,
    /// Where it is met first; a command may fail with a pipeline's code too.
    pub met: Met,
    /// Its page, Markdown: cause, what Tapehouse does, way out.
    pub page: &'static str,
}

impl Code {
    /// What to do about it: the page's last part, on one line.
    pub fn way_out(&self) -> String {
        let (_, text) = self.page.split_once("**What to do.** ").unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The page's title: what happened, in a few words.
    pub fn title(&self) -> &'static str {
        let first = self.page.lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, title)| title)
    }
}

/// The code of this name.
pub fn find(name: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.name == name)
}

macro_rules! codes {
    ($($met:ident: $($name:literal)+;)+) => {
        /// All codes, in the order of the index.
        pub const CODES: &[Code] = &[$($(Code {
            name: $name,
            met: Met::$met,
            page: include_str!(concat!("../../docs/errors/", $name, ".md")),
        },)+)+];
    };
}

codes! {
    Pipeline:
        "topic_absent"
        "topic_recreated"
        "kafka_cluster_changed"
        "topic_unconfirmed"
        "offset_lost"
        "log_truncated"
        "kafka"
        "kafka_authentication"
        "kafka_tls"
        "kafka_authorization"
        "registry"
        "wrong_registry"
        "lake"
        "s3_unreachable"
        "s3_denied"
        "s3_no_bucket"
        "s3_clock_skew"
        "s3_slow_down"
        "s3_failed"
        "file_missing"
        "file_outside"
        "state_invalid"
        "unknown_year"
        "position"
        "commit"
        "refused"
        "foreign_owner"
        "schema"
        "data_file"
        "disk_full"
        "read_only"
        "too_many_open_files"
        "panic"
        "pipeline_ended"
        "state_changed"
        "new_partitions"
        "clock_ahead"
        "open_transaction"
        "node_not_running"
        "undecodable"
        "memory_wait"
        "key_index"
        "source_behind"
        "push";
    Record:
        "tombstone"
        "empty_value"
        "too_short"
        "wrong_magic_byte"
        "unknown_schema_id"
        "unusable_schema"
        "truncated"
        "trailing_bytes"
        "malformed"
        "too_large"
        "bad_timestamp"
        "schema_conflict";
    Command:
        "config"
        "port_taken"
        "state_dir"
        "no_such_table"
        "no_such_run"
        "no_such_backfill"
        "no_such_schedule"
        "run_state"
        "run_failed"
        "not_quarantined"
        "not_decidable"
        "demo_dir"
        "not_caught_up"
        "interrupted"
        "internal";
    Request:
        "unauthenticated"
        "permission_denied"
        "no_such_topic"
        "invalid_argument"
        "malformed_request"
        "message_too_large"
        "no_such_method"
        "overloaded"
        "deadline_exceeded"
        "draining"
        "node_unreachable";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every page says, in this order.
    const HEADINGS: [&str; 3] = ["**What happened.** ", "**What Tapehouse does.** ", "**What to do.** "];

    #[test]
    fn each_code_is_there_once() {
        let mut names: Vec<&str> = CODES.iter().map(|code| code.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CODES.len());
        assert_eq!(find("offset_lost").map(|code| code.name), Some("offset_lost"));
        assert_eq!(find("no_such_code"), None);
    }

    #[test]
    fn each_page_has_the_same_headings() {
        for code in CODES {
            let title = format!("# `{}`: ", code.name);
            assert!(code.page.starts_with(&title), "{}: must begin with {title}", code.name);
            assert!(!code.title().is_empty(), "{}", code.name);
            let mut from = 0;
            for heading in HEADINGS {
                let found = code.page[from..].find(&format!("\n\n{heading}"));
                let at = found.unwrap_or_else(|| panic!("{}: {heading} is missing or out of order", code.name));
                from += at + 2;
            }
            assert_eq!(code.page.matches("\n\n**").count(), HEADINGS.len(), "{}", code.name);
        }
    }
}
