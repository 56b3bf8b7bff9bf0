//! Asking Kafka for cluster and topic ids through librdkafka's C interface: `rdkafka` has no call for it.
//!
//! What makes it sound, and what must stay so:
//! - Every call has a queue of its own, made from a live client and given back before the call returns; an answer that comes too
//!   late finds its queue disabled, and librdkafka drops it.
//! - Options, topic collection and events are owned by guards that destroy them once.
//! - Whatever is read from an event is copied before the event is destroyed. Strings are null-checked and end with a zero;
//!   arrays are read for the length that the same call tells.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::slice;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::RDKafkaErrorCode;

use crate::consumer::LogContext;

/// Id of the topic, `None` where the broker tells none; or why there is no answer for it.
pub(super) type TopicAnswer = Result<Option<String>, RDKafkaErrorCode>;

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) cluster_id: Option<String>,
    pub(super) topics: BTreeMap<String, TopicAnswer>,
}

/// Asks `broker` for the cluster's id and the ids of `topics`, both at once; waits at most `timeout`. Any broker knows them;
/// librdkafka by itself would wait for the controller, which a mock cluster has not, and a real one not during its election.
///
/// # Errors
/// When no broker answers in time, or not as asked.
pub(super) fn describe(
    consumer: &BaseConsumer<LogContext>,
    broker: i32,
    topics: &[CString],
    timeout: Duration,
) -> Result<Described, KafkaError> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as `consumer`, which outlives this call.
    let queue = Queue(unsafe { c::rd_kafka_queue_new(client) });
    ask_topics(client, &queue, broker, topics, timeout)?;
    ask_cluster(client, &queue, broker, timeout)?;
    let deadline = Instant::now() + timeout + Duration::from_millis(500);
    let mut described = Described::default();
    let (mut has_topics, mut has_cluster) = (false, false);
    while !(has_topics && has_cluster) {
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: the queue is valid until its guard is dropped.
        let event = unsafe { c::rd_kafka_queue_poll(queue.0, milliseconds(left)) };
        if event.is_null() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        }
        let event = Event(event);
        // SAFETY: the event is live and owned by its guard, here and in what follows.
        let (kind, code) = unsafe { (c::rd_kafka_event_type(event.0), c::rd_kafka_event_error(event.0)) };
        if code.is_error() {
            return Err(KafkaError::MetadataFetch(code.into()));
        }
        match kind {
            c::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                described.topics = event.topics();
                has_topics = true;
            }
            c::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT => {
                described.cluster_id = event.cluster_id();
                has_cluster = true;
            }
            _ => {}
        }
    }
    Ok(described)
}

fn ask_topics(
    client: *mut c::rd_kafka_t,
    queue: &Queue,
    broker: i32,
    topics: &[CString],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let describe = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let options = Options::new(client, describe, broker, timeout)?;
    let mut names: Vec<*const c_char> = topics.iter().map(|topic| topic.as_ptr()).collect();
    // SAFETY: the names live through the call, which copies them; the collection is destroyed once, after it was used.
    unsafe {
        let collection = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        c::rd_kafka_DescribeTopics(client, collection, options.0, queue.0);
        c::rd_kafka_TopicCollection_destroy(collection);
    }
    Ok(())
}

fn ask_cluster(client: *mut c::rd_kafka_t, queue: &Queue, broker: i32, timeout: Duration) -> Result<(), KafkaError> {
    let describe = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
    let options = Options::new(client, describe, broker, timeout)?;
    // SAFETY: client, options and queue are live; librdkafka copies the options.
    unsafe { c::rd_kafka_DescribeCluster(client, options.0, queue.0) };
    Ok(())
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

struct Queue(*mut c::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once, while the client lives.
        unsafe { c::rd_kafka_queue_destroy(self.0) }
    }
}

struct Options(*mut c::rd_kafka_AdminOptions_t);

impl Options {
    fn new(
        client: *mut c::rd_kafka_t,
        of: c::rd_kafka_admin_op_t,
        broker: i32,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let mut reason = [0 as c_char; 256];
        // SAFETY: the client is live; the options are owned by the guard at once.
        let options = Self(unsafe { c::rd_kafka_AdminOptions_new(client, of) });
        // SAFETY: options are live; the place for a reason is valid for its length.
        let code = unsafe {
            c::rd_kafka_AdminOptions_set_request_timeout(
                options.0,
                milliseconds(timeout),
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        if code.is_error() {
            return Err(KafkaError::AdminOp(code.into()));
        }
        // SAFETY: as above.
        let code = unsafe { c::rd_kafka_AdminOptions_set_broker(options.0, broker, reason.as_mut_ptr(), reason.len()) };
        if code.is_error() {
            return Err(KafkaError::AdminOp(code.into()));
        }
        Ok(options)
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_AdminOptions_new`, destroyed once.
        unsafe { c::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// An event that is not null.
struct Event(*mut c::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event came from a queue and is destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0) }
    }
}

impl Event {
    fn topics(&self) -> BTreeMap<String, TopicAnswer> {
        let mut count = 0;
        // SAFETY: the event is a live answer to DescribeTopics; the array and its entries belong to it.
        let entries = unsafe {
            let result = c::rd_kafka_event_DescribeTopics_result(self.0);
            let first = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            match first.is_null() {
                true => &[],
                false => slice::from_raw_parts(first, count),
            }
        };
        entries.iter().filter_map(|&entry| topic(entry)).collect()
    }

    fn cluster_id(&self) -> Option<String> {
        // SAFETY: the event is a live answer to DescribeCluster; the text belongs to it.
        unsafe {
            let result = c::rd_kafka_event_DescribeCluster_result(self.0);
            text(c::rd_kafka_DescribeCluster_result_cluster_id(result))
        }
    }
}

fn topic(entry: *const c::rd_kafka_TopicDescription_t) -> Option<(String, TopicAnswer)> {
    if entry.is_null() {
        return None;
    }
    // SAFETY: the entry belongs to a live event; a null error means none.
    unsafe {
        let name = text(c::rd_kafka_TopicDescription_name(entry))?;
        let code = c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(entry));
        if code.is_error() {
            return Some((name, Err(code.into())));
        }
        let id = c::rd_kafka_TopicDescription_topic_id(entry);
        let id = match id.is_null() {
            true => None,
            false => text(c::rd_kafka_Uuid_base64str(id)),
        };
        // A broker without topic ids says zero: in base64 nothing but A.
        Some((name, Ok(id.filter(|id| id.bytes().any(|byte| byte != b'A')))))
    }
}

/// # Safety
/// `start`, unless null, must point to a text that ends with a zero and lives through the call.
unsafe fn text(start: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!ptr::eq(start, ptr::null())).then(|| unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}
