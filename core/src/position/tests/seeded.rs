use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Fills with equal times, zero quantities, odd fractions, and those that go exactly flat or turn it over.
fn fills(random: &mut Random, count: usize) -> Vec<(&'static str, Fill)> {
    let mut net = [0_i64; 3];
    let mut trade_us = 0;
    let mut made = Vec::new();
    for _ in 0..count {
        trade_us += random.below(4) as i64 * 7_200_000_001;
        let at = random.below(3) as usize;
        let units = match random.below(10) {
            0 => 0,
            1 => -net[at],
            2 => -2 * net[at],
            3 => random.below(7) as i64 - 3,
            _ => random.below(20_000_000_000) as i64 - 10_000_000_000,
        };
        net[at] += units;
        let fill = Fill {
            trade_us,
            quantity: Quantity::from_units(units),
            price: Price::from_f64(random.below(1_000_000_000) as f64 / 3e6).unwrap(),
        };
        made.push((["A", "B", "C"][at], fill));
    }
    made
}

#[test]
fn realized_and_unrealized_are_cash_and_inventory_to_the_last_digit() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut position = Position::default();
        let (mut realized, mut cash) = (0_i128, 0_i128);
        for (_, fill) in fills(&mut random, 300) {
            let close = position.apply(&fill).unwrap();
            realized += close.map_or(0, |close| close.pnl.units());
            cash -= i128::from(fill.quantity.units()) * i128::from(fill.price.units());
            let mark = Price::from_f64(random.below(100_000) as f64 / 100.0).unwrap();
            let unrealized = position.unrealized_pnl(mark).unwrap().units();
            assert_eq!(
                realized + unrealized,
                cash + position.value(mark).units(),
                "seed {seed}"
            );
            let lots: i128 = position.lots.iter().map(|lot| i128::from(lot.quantity)).sum();
            assert_eq!(lots, i128::from(position.net).abs());
            assert!(!position.is_flat() || position == Position::default());
        }
    }
}

/// The contract's formulas as they stand there, in floating point; holding time by walking one lot after the other.
#[test]
fn a_plain_fold_agrees() {
    for seed in 0..200 {
        let mut position = Position::default();
        let (mut q, mut c, mut terms) = (0.0_f64, 0.0_f64, 0.0_f64);
        let mut lots: Vec<(i64, f64)> = Vec::new();
        for (_, fill) in fills(&mut Random(seed), 200) {
            let close = position.apply(&fill).unwrap();
            let (s, p) = (fill.quantity.to_f64(), fill.price.units() as f64 / 1e8);
            let k = if q * s < 0.0 { q.abs().min(s.abs()) } else { 0.0 };
            terms += (k * p).abs() + (k * c).abs();
            let pnl = k * (p - c) * q.signum();
            let (mut left, mut held) = (k, 0.0);
            while left > 5e-9 {
                let part = left.min(lots[0].1);
                held += part * (fill.trade_us - lots[0].0) as f64;
                left -= part;
                lots[0].1 -= part;
                if lots[0].1 < 5e-9 {
                    lots.remove(0);
                }
            }
            let opened = s.abs() - k;
            if opened > 5e-9 {
                let kept = q.abs() - k;
                c = match kept < 5e-9 {
                    true => p,
                    false => (kept * c + opened * p) / (kept + opened),
                };
                lots.push((fill.trade_us, opened));
            }
            // No error of the second opinion's own adds up in the quantity.
            q = ((q + s) * 1e8).round() / 1e8;
            let (seen_pnl, seen_held) = close.map_or((0.0, 0.0), |close| (close.pnl.to_f64(), close.held as f64 / 1e8));
            assert!(
                (seen_pnl - pnl).abs() <= 1e-9 * terms.max(1.0),
                "seed {seed}: {seen_pnl} {pnl}"
            );
            assert!(
                (seen_held - held).abs() <= 1e-6 * held.max(1e6),
                "seed {seed}: {seen_held} {held}"
            );
            assert_eq!(position.net_quantity().to_f64(), q);
            if let Some(cost) = position.avg_entry_price().filter(|_| q.abs() > 1e-3) {
                assert!((cost - c).abs() <= 1e-9 * c.max(1.0), "seed {seed}: {cost} {c}");
            }
        }
    }
}

fn by_day(fills: &[(&'static str, Fill)], ids: &[String], book: &mut Book) -> Option<Performance> {
    let day: Vec<SymbolFill<'_>> = fills
        .iter()
        .zip(ids)
        .map(|((symbol, fill), trade_id)| SymbolFill {
            symbol,
            event_us: 0,
            trade_id,
            fill: *fill,
        })
        .collect();
    book.day(Fills::in_order(&day).unwrap()).unwrap()
}

#[test]
fn a_state_written_and_read_at_any_boundary_changes_no_bit() {
    let ids: Vec<String> = (0..120).map(|at| format!("T{at:06}")).collect();
    for seed in 0..20 {
        let all = fills(&mut Random(seed), 120);
        let mut whole = Book::default();
        let of_whole = by_day(&all, &ids, &mut whole).unwrap();
        for cut in 0..=all.len() {
            let mut first = Book::default();
            let before = by_day(&all[..cut], &ids, &mut first);
            let carried = serde_json::to_string(&first).unwrap();
            let mut second: Book = serde_json::from_str(&carried).unwrap();
            assert_eq!((&second, second.hash()), (&first, first.hash()));
            let after = by_day(&all[cut..], &ids[cut..], &mut second);
            assert_eq!(
                (&second, second.hash()),
                (&whole, whole.hash()),
                "seed {seed}, cut {cut}"
            );
            let both = [before, after].into_iter().flatten();
            assert_eq!(
                both.clone().map(|day| day.trade_count).sum::<u64>(),
                of_whole.trade_count
            );
            let realized: f64 = both.map(|day| day.realized_pnl).sum();
            assert!((realized - of_whole.realized_pnl).abs() < 1e-6);
        }
    }
}

/// Each (trader, symbol) stands alone: replaying one of them gives what it had among the others.
#[test]
fn a_symbol_alone_has_the_same_position() {
    let ids: Vec<String> = (0..300).map(|at| format!("T{at:06}")).collect();
    for seed in 0..50 {
        let all = fills(&mut Random(seed), 300);
        let mut book = Book::default();
        by_day(&all, &ids, &mut book);
        for symbol in ["A", "B", "C"] {
            let mut alone = Position::default();
            for (_, fill) in all.iter().filter(|(of, _)| *of == symbol) {
                alone.apply(fill).unwrap();
            }
            assert_eq!(book.position(symbol).cloned().unwrap_or_default(), alone);
        }
    }
    // Times of the fills span nights.
    assert!(fills(&mut Random(1), 300).last().unwrap().1.trade_us > 3 * DAY_US);
}
