//! Polling librdkafka's consumer queue directly.
//!
//! `BaseConsumer::poll` asks the clock two or three times and allocates once for every record, which is an eighth of what
//! ingest costs in all. This module makes the same three calls of the C library (poll the queue, take the event's message,
//! destroy the event) without either.
//!
//! What makes it sound, and what must stay so:
//! - The queue reference is taken from a live client and given back before the client is destroyed: [`ConsumerQueue`] owns
//!   the consumer, and its `Drop` runs before its fields are dropped.
//! - A message lives as long as its event. [`Record`] borrows from the event for the duration of one callback, and its slices
//!   cannot leave it.
//! - The pointers that librdkafka gives for payload, key, header name and value are valid for the lengths that stand beside them
//!   or, for header names, up to their terminating zero; each is null-checked first.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError};
use tapehouse_core::offsets::{Offset, PartitionId};

use crate::raw_batch::Headers;

/// A consumer and its queue.
pub(super) struct ConsumerQueue<C: ConsumerContext> {
    queue: ptr::NonNull<c::rd_kafka_queue_t>,
    consumer: BaseConsumer<C>,
}

// SAFETY: librdkafka's queues may be used from any thread; `BaseConsumer` is `Send` itself.
unsafe impl<C: ConsumerContext> Send for ConsumerQueue<C> where BaseConsumer<C>: Send {}

/// What one poll found.
pub(super) enum Polled<'e> {
    /// Nothing within the time.
    Nothing,
    /// Something that is handled already: control records, a group commit's answer.
    Handled,
    /// A record.
    Record(Record<'e>),
    /// The end of a partition.
    End(PartitionId),
    /// An error that the library reports.
    Error(KafkaError),
}

/// A record, valid during one callback.
pub(super) struct Record<'e> {
    message: &'e c::rd_kafka_message_t,
}

impl<C: ConsumerContext> ConsumerQueue<C> {
    /// Takes the consumer over; `None` when it has no consumer queue, which is the case only without a group id.
    pub(super) fn new(consumer: BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the pointer is that of the live client that `consumer` owns.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Some(Self {
            queue: ptr::NonNull::new(queue)?,
            consumer,
        })
    }

    /// The consumer, for everything but polling.
    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Waits at most `timeout` for one event and gives it to `use_it`.
    pub(super) fn poll<T>(&self, timeout: Duration, use_it: impl FnOnce(Polled<'_>) -> T) -> T {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid until `drop`.
        let event = Event(unsafe { c::rd_kafka_queue_poll(self.queue.as_ptr(), timeout_ms) });
        use_it(event.read(self.consumer.context().as_ref()))
    }
}

impl<C: ConsumerContext> Drop for ConsumerQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `new` and is given back once; the client still lives.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// An event, destroyed with all that it holds when dropped.
struct Event(*mut c::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event came from the queue and is destroyed once; null is permitted.
        unsafe { c::rd_kafka_event_destroy(self.0) }
    }
}

impl Event {
    fn read<C: ConsumerContext>(&self, context: &C) -> Polled<'_> {
        if self.0.is_null() {
            return Polled::Nothing;
        }
        // SAFETY: not null, and owned by `self`, as in every call below.
        match unsafe { c::rd_kafka_event_type(self.0) } {
            c::RD_KAFKA_EVENT_FETCH => self.record(),
            c::RD_KAFKA_EVENT_ERROR => self.error(context),
            c::RD_KAFKA_EVENT_LOG => self.log(context),
            _ => Polled::Handled,
        }
    }

    fn record(&self) -> Polled<'_> {
        // SAFETY: the message belongs to the event and lives as long as it. Null: a control record, which only moves the position.
        let message = unsafe { c::rd_kafka_event_message_next(self.0).as_ref() };
        match message {
            None => Polled::Handled,
            Some(message) if message.err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Polled::End(message.partition)
            }
            Some(message) if message.err.is_error() => {
                Polled::Error(KafkaError::MessageConsumption(message.err.into()))
            }
            Some(message) => Polled::Record(Record { message }),
        }
    }

    fn log<C: ConsumerContext>(&self, context: &C) -> Polled<'_> {
        let (mut facility, mut message, mut level) = (ptr::null::<c_char>(), ptr::null::<c_char>(), 0);
        // SAFETY: the event is a live log event; the three places receive its parts, texts that live as long as it.
        let (facility, message) = unsafe {
            if c::rd_kafka_event_log(self.0, &raw mut facility, &raw mut message, &raw mut level) != 0 {
                return Polled::Handled;
            }
            (text(facility), text(message))
        };
        let level = match level {
            ..=3 => RDKafkaLogLevel::Error,
            4 => RDKafkaLogLevel::Warning,
            5 | 6 => RDKafkaLogLevel::Info,
            7.. => RDKafkaLogLevel::Debug,
        };
        context.log(level, facility.trim(), message.trim());
        Polled::Handled
    }

    fn error<C: ConsumerContext>(&self, context: &C) -> Polled<'_> {
        // SAFETY: `self.0` is a live error event.
        let code = unsafe { c::rd_kafka_event_error(self.0) };
        if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            // SAFETY: the event is live; the partition object is the caller's to destroy, once, and read before that.
            return unsafe {
                let partition = c::rd_kafka_event_topic_partition(self.0);
                let Some(number) = partition.as_ref().map(|partition| partition.partition) else {
                    return Polled::Handled;
                };
                c::rd_kafka_topic_partition_destroy(partition);
                Polled::End(number)
            };
        }
        // SAFETY: `self.0` is a live error event, whose text lives as long as it.
        let reason = unsafe { text(c::rd_kafka_event_error_string(self.0)) };
        context.error(KafkaError::Global(code.into()), &reason);
        // SAFETY: `self.0` is a live error event.
        let fatal = unsafe { c::rd_kafka_event_error_is_fatal(self.0) } != 0;
        match code.is_error() {
            false => Polled::Handled,
            true if fatal => Polled::Error(KafkaError::MessageConsumptionFatal(code.into())),
            true => Polled::Error(KafkaError::MessageConsumption(code.into())),
        }
    }
}

impl Record<'_> {
    pub(super) fn partition(&self) -> PartitionId {
        self.message.partition
    }

    pub(super) fn offset(&self) -> Offset {
        self.message.offset
    }

    pub(super) fn payload(&self) -> Option<&[u8]> {
        // SAFETY: payload and length describe one allocation of the message, which `self` borrows.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: key and length describe one allocation of the message, which `self` borrows.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    /// Kafka's timestamp in milliseconds since 1970-01-01 UTC, if the record has one.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live and is only read; `kind` is a valid place for the answer.
        let timestamp_ms = unsafe { c::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        let known = kind != c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (known && timestamp_ms != -1).then_some(timestamp_ms)
    }

    pub(super) fn headers(&self) -> Headers {
        let mut list: *mut c::rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the message is live; on success `list` belongs to it and is only read.
        let answer = unsafe { c::rd_kafka_message_headers(self.message, &raw mut list) };
        let mut headers = Headers::new();
        if answer.is_error() || list.is_null() {
            return headers;
        }
        loop {
            let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
            // SAFETY: `list` is live; the three places receive pointers into it.
            let answer = unsafe {
                c::rd_kafka_header_get_all(list, headers.len(), &raw mut name, &raw mut value, &raw mut size)
            };
            if answer.is_error() || name.is_null() {
                return headers;
            }
            // SAFETY: librdkafka terminates header names with a zero; value and size describe one allocation.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, size)) };
            headers.push((name.to_string_lossy().into_owned(), value.map(<[u8]>::to_vec)));
        }
    }
}

/// # Safety
/// `of`, unless null, must be a text that ends with a zero and lives during `'a`.
unsafe fn text<'a>(of: *const c_char) -> Cow<'a, str> {
    match of.is_null() {
        true => Cow::Borrowed(""),
        // SAFETY: as the caller promises.
        false => unsafe { CStr::from_ptr(of) }.to_string_lossy(),
    }
}

/// # Safety
/// `start`, unless null, must be valid for reads of `len` bytes during `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}
