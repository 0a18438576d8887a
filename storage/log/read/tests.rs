//! Cursors: every durable record once and in order, while the log is appended to, purged and truncated.

use proptest::prelude::*;

use super::*;
use crate::log::tests::{expected, open, open_from, payload, write};
use crate::mem::{Call, MemDisk, block_on};

type Seen = Vec<(u64, Vec<u8>)>;

fn rest(cursor: &mut LogCursor<MemDisk>) -> Result<Seen, ReadError> {
    let mut seen = Seen::new();
    while let Some((seq, payload)) = cursor.next()? {
        seen.push((seq, payload.to_vec()));
    }
    Ok(seen)
}

fn read(log: &Log<MemDisk>, seq: u64) -> Seen {
    rest(&mut log.read_after(seq).unwrap()).unwrap()
}

/// Seqs are multiples of ten, in batches of three.
fn written(last: u64) -> (MemDisk, Log<MemDisk>) {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    for number in 1..=last {
        block_on(log.prepare_next()).unwrap();
        log.append(number * 10, &payload(number * 10)).unwrap();
        if number % 3 == 0 || number == last {
            block_on(log.sync()).unwrap();
            block_on(log.mark()).unwrap();
        }
    }
    (disk, log)
}

fn tens(from: u64, to: u64) -> Seen {
    expected((from..=to).map(|number| number * 10))
}

fn spares(disk: &MemDisk) -> usize {
    disk.paths().iter().filter(|path| path.to_string_lossy().contains("/spare.")).count()
}

#[test]
fn everything_above_any_seq_is_read() {
    let (disk, log) = written(400);
    let (reopened, ..) = open_from(&disk.copy(), 3990).unwrap();
    for log in [&log, &reopened] {
        assert_eq!(log.oldest(), 0);
        for number in [0, 1, 2, 3, 100, 120, 121, 122, 123, 124, 125, 126, 127, 128, 240, 398, 399, 400] {
            assert_eq!(read(log, number * 10), tens(number + 1, 400), "after {number}");
            assert_eq!(read(log, number * 10 + 5), tens(number + 1, 400), "after {number}, between");
        }
        assert_eq!(read(log, u64::MAX), []);
    }
}

#[test]
fn neighbours_of_any_seq_are_found() {
    let (_, log) = written(300);
    assert_eq!(log.locate(5).unwrap(), Located { at_or_below: 0, above: Some(10) });
    for number in 1..300 {
        let (at_or_below, above) = (number * 10, Some(number * 10 + 10));
        assert_eq!(log.locate(number * 10).unwrap(), Located { at_or_below, above });
        assert_eq!(log.locate(number * 10 + 9).unwrap(), Located { at_or_below, above });
    }
    assert_eq!(log.locate(3000).unwrap(), Located { at_or_below: 3000, above: None });
    assert_eq!(log.locate(9999).unwrap(), Located { at_or_below: 3000, above: None });
    log.append(3010, b"waits").unwrap();
    assert_eq!(log.locate(3000).unwrap().above, None, "what waits isn't there yet");
}

#[test]
fn cursor_at_the_end_goes_on_when_there_is_more() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    let mut cursor = log.read_after(0).unwrap();
    let mut seen = Seen::new();
    for seq in 1..=400 {
        block_on(log.prepare_next()).unwrap();
        log.append(seq, &payload(seq)).unwrap();
        assert!(cursor.next().unwrap().is_none(), "not durable yet");
        if seq % 4 == 0 {
            block_on(log.sync()).unwrap();
            seen.extend(rest(&mut cursor).unwrap());
            assert_eq!(cursor.after(), seq);
        }
    }
    assert_eq!(seen, expected(1..=400));
}

#[test]
fn what_rolled_in_memory_only_is_not_read() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=120);
    block_on(log.prepare_next()).unwrap();
    let mut cursor = log.read_after(110).unwrap();
    assert_eq!(rest(&mut cursor).unwrap(), expected(111..=120));
    while log.state.borrow().segments.len() == 1 {
        let seq = log.last_seq() + 1;
        log.append(seq, &payload(seq)).unwrap();
    }
    assert_eq!(rest(&mut cursor).unwrap(), []);
    let last = block_on(log.sync()).unwrap();
    assert_eq!(rest(&mut cursor).unwrap(), expected(121..=last));
}

#[test]
fn purged_is_an_error_and_what_is_mapped_can_be_read_to_its_end() {
    let (disk, log) = written(400);
    let mut early = log.read_after(0).unwrap();
    let mut late = log.read_after(3900).unwrap();
    assert_eq!(early.next().unwrap().unwrap().0, 10);
    assert!(block_on(log.purge_before(3900)).unwrap() > 1);
    assert_eq!(spares(&disk), 1, "the one that is read isn't kept, the next is");
    let oldest = log.oldest();
    for number in 2.. {
        match early.next() {
            Ok(found) => assert_eq!(found.unwrap(), (number * 10, payload(number * 10).as_slice())),
            Err(error) => {
                assert!(matches!(error, ReadError::Purged { oldest: found } if found == oldest), "{error}");
                assert!(number > 100);
                break;
            }
        }
    }
    assert!(matches!(early.next(), Err(ReadError::Purged { .. })));
    assert_eq!(rest(&mut late).unwrap(), tens(391, 400));
    assert!(matches!(log.read_after(oldest - 1).err().unwrap(), ReadError::Purged { .. }));
    assert!(matches!(log.locate(oldest - 1).unwrap_err(), ReadError::Purged { .. }));
    assert_eq!(read(&log, oldest), tens(oldest / 10 + 1, 400));
}

#[test]
fn cursor_that_has_read_all_goes_on_though_its_segment_was_purged_since() {
    // An empty batch closes the segment when the log rolls; the cursor has not seen it.
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    let mut cursor = log.read_after(0).unwrap();
    let mut seen = Seen::new();
    while log.state.borrow().active.home.index == 1 {
        seen.extend(rest(&mut cursor).unwrap());
        write(&log, [log.last_seq() + 1]);
    }
    let last = log.last_seq();
    assert_eq!(cursor.after(), last - 1);
    write(&log, last + 1..=last + 5);
    assert_eq!(block_on(log.purge_before(last + 5)).unwrap(), 1);
    assert_eq!(log.oldest(), last - 1);
    seen.extend(rest(&mut cursor).unwrap());
    assert_eq!(seen, expected(1..=last + 5));
}

#[test]
fn cursor_from_beyond_the_durable_end_does_not_need_what_was_purged_below_it() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=5);
    let mut cursor = log.read_after(290).unwrap();
    assert_eq!(rest(&mut cursor).unwrap(), []);
    write(&log, 6..=300);
    assert!(block_on(log.purge_before(285)).unwrap() > 0);
    assert!(log.oldest() > 5);
    assert_eq!(rest(&mut cursor).unwrap(), expected(291..=300));
}

#[test]
fn purged_segment_without_records_is_not_missed() {
    // A truncation to where a segment begins leaves it in the log without any.
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=300);
    let second = log.state.borrow().segments[1].prev_seq;
    block_on(log.truncate_after(second)).unwrap();
    write(&log, second + 1..=second + 9);
    let mut cursor = log.read_after(second - 1).unwrap();
    assert_eq!(cursor.next().unwrap().unwrap().0, second);
    assert_eq!(block_on(log.purge_before(second + 9)).unwrap(), 2);
    assert_eq!(rest(&mut cursor).unwrap(), expected(second + 1..=second + 9));
}

#[test]
fn segment_that_is_read_is_not_used_again() {
    let (disk, log) = written(300);
    let cursor = log.read_after(0).unwrap();
    assert_eq!(block_on(log.purge_before(1500)).unwrap(), 1);
    assert_eq!(spares(&disk), 0, "removed");
    drop(cursor);
    let (disk, log) = written(300);
    drop(log.read_after(0).unwrap());
    assert_eq!(block_on(log.purge_before(1500)).unwrap(), 1);
    assert_eq!(spares(&disk), 1, "nobody reads it");
}

#[test]
fn truncation_ends_cursors_and_the_next_one_reads_the_new_log() {
    let (_, log) = written(300);
    let mut cursor = log.read_after(100).unwrap();
    cursor.next().unwrap();
    block_on(log.truncate_after(1505)).unwrap();
    assert!(matches!(cursor.next(), Err(ReadError::Truncated)));
    assert_eq!(read(&log, 0), tens(1, 150));
    assert_eq!(log.locate(1500).unwrap(), Located { at_or_below: 1500, above: None });
    write(&log, 1501..=1700);
    assert!(matches!(cursor.next(), Err(ReadError::Truncated)));
    assert_eq!(read(&log, 1400), [tens(141, 150), expected(1501..=1700)].concat());
    assert_eq!(log.locate(1500).unwrap(), Located { at_or_below: 1500, above: Some(1501) });
}

#[test]
fn truncated_log_is_read_after_a_restart() {
    let (disk, log) = written(300);
    block_on(log.truncate_after(1505)).unwrap();
    write(&log, 1501..=1700);
    drop(log);
    // Recovery reads the last segment only; the table of those below must know where the first was cut.
    for from_seq in [0, 1550, 1700] {
        let (log, ..) = open_from(&disk.copy(), from_seq).unwrap();
        assert_eq!(log.oldest(), 0);
        assert_eq!(read(&log, 0), [tens(1, 150), expected(1501..=1700)].concat(), "from {from_seq}");
    }
}

#[test]
fn segments_below_a_gap_are_not_offered() {
    let (disk, log) = written(500);
    let (path, second) = (log.segment_path(2), log.state.borrow().segments[2].prev_seq);
    drop(log);
    disk.vanish(&path);
    let (log, ..) = open_from(&disk, 5000).unwrap();
    assert_eq!(log.oldest(), second);
    assert!(matches!(log.read_after(0).err().unwrap(), ReadError::Purged { .. }));
    assert_eq!(read(&log, second), tens(second / 10 + 1, 500));
    block_on(log.purge_before(5000)).unwrap();
    assert_eq!(read(&log, log.oldest()), tens(log.oldest() / 10 + 1, 500));
}

#[test]
fn damage_is_never_handed_out() {
    let (disk, log) = written(300);
    let paths = [1, 2, 3].map(|index| log.segment_path(index));
    let whole = tens(1, 300);
    for path in &paths {
        let bytes = disk.bytes(path).unwrap();
        for at in (0..bytes.len()).step_by(997) {
            disk.corrupt(path, |bytes| bytes[at] ^= 0x10);
            let mut seen = Seen::new();
            if let Ok(mut cursor) = log.read_after(0) {
                while let Ok(Some((seq, payload))) = cursor.next() {
                    seen.push((seq, payload.to_vec()));
                }
            }
            assert_eq!(seen, whole[..seen.len()], "byte {at} of {}", path.display());
            disk.corrupt(path, |bytes| bytes[at] ^= 0x10);
        }
    }
}

#[test]
fn swapped_or_emptied_segment_is_damage() {
    let (disk, log) = written(500);
    let paths = [1, 2, 3].map(|index| log.segment_path(index));
    disk.swap(&paths[1], &paths[2]);
    let mut cursor = log.read_after(0).unwrap();
    assert!(matches!(rest(&mut cursor).unwrap_err(), ReadError::Damaged { .. }));
    disk.swap(&paths[1], &paths[2]);
    disk.corrupt(&paths[1], |bytes| bytes.truncate(10_000));
    assert!(matches!(rest(&mut log.read_after(0).unwrap()).unwrap_err(), ReadError::Damaged { .. }));
}

#[test]
fn segment_of_another_history_is_damage() {
    // Of the same index, salt and seqs, but its records follow others.
    let other = |change: &[u8]| {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        for seq in 1..=300 {
            block_on(log.prepare_next()).unwrap();
            let mut bytes = payload(seq);
            bytes[0] ^= change[usize::from(seq > 5)];
            log.append(seq, &bytes).unwrap();
            block_on(log.sync()).unwrap();
        }
        (disk, log)
    };
    let ((disk, log), (foreign, _)) = (other(&[0, 0]), other(&[1, 0]));
    let path = log.segment_path(2);
    disk.corrupt(&path, |bytes| *bytes = foreign.bytes(&path).unwrap());
    assert!(matches!(rest(&mut log.read_after(0).unwrap()).unwrap_err(), ReadError::Damaged { .. }));
}

#[test]
fn refused_map_can_be_tried_again() {
    let (disk, log) = written(300);
    disk.fail(Call::Map, 0, 1, std::io::ErrorKind::OutOfMemory);
    assert!(matches!(log.read_after(0).err().unwrap(), ReadError::Io { doing: "map", .. }));
    disk.fail(Call::Map, 1, 1, std::io::ErrorKind::OutOfMemory);
    let mut cursor = log.read_after(0).unwrap();
    assert!(matches!(rest(&mut cursor).unwrap_err(), ReadError::Io { doing: "map", .. }));
    let after = cursor.after() / 10;
    assert_eq!(rest(&mut cursor).unwrap(), tens(after + 1, 300));
}

#[test]
fn closed_log_is_not_read() {
    let (disk, log) = written(30);
    let mut cursor = log.read_after(0).unwrap();
    log.append(301, b"x").unwrap();
    disk.fail(Call::Sync, 0, 1, std::io::ErrorKind::Other);
    assert!(block_on(log.sync()).is_err());
    assert!(matches!(cursor.next(), Err(ReadError::Closed)));
    assert!(matches!(log.read_after(0).err().unwrap(), ReadError::Closed));
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Mark,
    Prepare,
    Purge(u8),
    Truncate(u8),
    Restart,
    /// A new cursor at a fraction of the log.
    Begin(u8),
    /// Records read by each cursor.
    Read(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..30).prop_map(Step::Append),
        5 => Just(Step::Sync),
        1 => Just(Step::Mark),
        4 => Just(Step::Prepare),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Restart),
        3 => any::<u8>().prop_map(Step::Begin),
        5 => (1u8..60).prop_map(Step::Read),
    ]
}

/// A log, what is in it by rights, and cursors, each with the number of truncations that it has not seen.
struct World {
    disk: MemDisk,
    log: Log<MemDisk>,
    model: Vec<Vec<u8>>,
    durable: usize,
    purged: usize,
    truncations: u32,
    cursors: Vec<(LogCursor<MemDisk>, u32)>,
}

impl World {
    fn take(&mut self, step: &Step) {
        let part = |part: u8, from: usize, to: usize| from + (to - from) * usize::from(part) / 255;
        match *step {
            Step::Append(count) => self.append(count),
            Step::Sync => self.durable = block_on(self.log.sync()).unwrap() as usize,
            Step::Mark => {
                block_on(self.log.mark()).unwrap();
                self.durable = self.model.len();
            }
            Step::Prepare => block_on(self.log.prepare_next()).unwrap(),
            Step::Purge(fraction) => {
                block_on(self.log.purge_before(part(fraction, self.purged, self.durable) as u64)).unwrap();
                self.purged = self.log.oldest() as usize;
            }
            Step::Truncate(fraction) => {
                let target = part(fraction, self.purged, self.model.len());
                let truncated = block_on(self.log.truncate_after(target as u64)).unwrap();
                assert_eq!(truncated.last_seq as usize, target);
                self.truncations += u32::from(truncated.removed);
                self.model.truncate(target);
                self.durable = target;
            }
            Step::Restart => {
                self.cursors.clear();
                let (log, recovered, _) = open_from(&self.disk.crash(), self.purged as u64).unwrap();
                assert_eq!(recovered.last_seq as usize, self.durable);
                self.model.truncate(self.durable);
                self.disk = log.disk.clone();
                self.log = log;
            }
            Step::Begin(fraction) => {
                let from = part(fraction, self.purged, self.model.len()) as u64;
                self.cursors.push((self.log.read_after(from).unwrap(), self.truncations));
                if self.cursors.len() > 4 {
                    self.cursors.remove(0);
                }
            }
            Step::Read(count) => self.read(count),
        }
    }

    fn append(&mut self, count: u8) {
        for _ in 0..count {
            let seq = self.model.len() as u64 + 1;
            let bytes = [payload(seq).as_slice(), &self.truncations.to_le_bytes()].concat();
            match self.log.append(seq, &bytes) {
                Ok(()) => self.model.push(bytes),
                Err(_) => return,
            }
        }
    }

    fn read(&mut self, count: u8) {
        let (model, durable, purged, truncations) = (&self.model, self.durable, self.purged, self.truncations);
        self.cursors.retain_mut(|(cursor, born)| {
            for _ in 0..count {
                let after = cursor.after() as usize;
                match cursor.next() {
                    Ok(Some((seq, payload))) => {
                        assert_eq!(*born, truncations);
                        assert_eq!((seq as usize, payload), (after + 1, model[after].as_slice()));
                    }
                    Ok(None) => {
                        assert!(after >= durable, "{after} of {durable}");
                        return true;
                    }
                    Err(ReadError::Truncated) => {
                        assert!(*born < truncations);
                        return false;
                    }
                    Err(ReadError::Purged { .. }) => {
                        assert!(after < purged);
                        return false;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            true
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn cursors_show_the_log_whatever_happens_to_it(steps in proptest::collection::vec(step(), 1..150)) {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        let (model, cursors) = (Vec::new(), Vec::new());
        let mut world = World { disk, log, model, durable: 0, purged: 0, truncations: 0, cursors };
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::Read(255));
    }
}
