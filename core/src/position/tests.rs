mod seeded;

use super::*;

const DAY_US: i64 = 86_400_000_000;

fn fill(trade_us: i64, quantity: f64, price: f64) -> Fill {
    Fill {
        trade_us,
        quantity: Quantity::from_f64(quantity).unwrap(),
        price: Price::from_f64(price).unwrap(),
    }
}

/// Takes in (seconds, signed quantity, price); the profit of each closing fill.
fn fold(position: &mut Position, fills: &[(i64, f64, f64)]) -> Vec<f64> {
    let closes = fills.iter().filter_map(|&(second, quantity, price)| {
        let close = position.apply(&fill(second * 1_000_000, quantity, price)).unwrap();
        close.map(|close| close.pnl.to_f64())
    });
    closes.collect()
}

/// (seconds, symbol, signed quantity, price), trade ids in the order given.
fn day_of(book: &mut Book, fills: &[(i64, &str, f64, f64)]) -> Option<Performance> {
    let ids: Vec<String> = (0..fills.len()).map(|at| format!("T{at:06}")).collect();
    let fills: Vec<SymbolFill<'_>> = fills
        .iter()
        .zip(&ids)
        .map(|(&(second, symbol, quantity, price), trade_id)| SymbolFill {
            symbol,
            event_us: 0,
            trade_id,
            fill: fill(second * 1_000_000, quantity, price),
        })
        .collect();
    book.day(Fills::in_order(&fills).unwrap()).unwrap()
}

#[test]
fn the_contracts_example() {
    let mut position = Position::default();
    let example = [(1, 100.0, 10.0), (2, 100.0, 12.0), (3, -150.0, 13.0), (4, 50.0, 20.0)];
    assert_eq!(fold(&mut position, &example), [300.0]);
    assert_eq!(position.avg_entry_price(), Some(15.5));
    assert_eq!(position.net_quantity().to_f64(), 100.0);
    let mark = Price::from_f64(20.0).unwrap();
    assert_eq!(position.unrealized_pnl(mark).unwrap().to_f64(), 450.0);
    assert_eq!(position.value(mark).to_f64(), 2_000.0);
}

#[test]
fn shorts_flips_and_exact_flat() {
    let mut position = Position::default();
    // Short 100 at 20 and 100 at 22; buy 50 at 18: 50 * (21 - 18).
    assert_eq!(
        fold(&mut position, &[(1, -100.0, 20.0), (2, -100.0, 22.0), (3, 50.0, 18.0)]),
        [150.0]
    );
    assert_eq!(position.avg_entry_price(), Some(21.0));
    assert_eq!(
        position
            .unrealized_pnl(Price::from_f64(25.0).unwrap())
            .unwrap()
            .to_f64(),
        -600.0
    );
    // Buy 250 at 23: 150 closed at a loss of 2 each, 100 long at 23.
    assert_eq!(fold(&mut position, &[(4, 250.0, 23.0)]), [-300.0]);
    assert_eq!(position.avg_entry_price(), Some(23.0));
    assert_eq!(position.net_quantity().to_f64(), 100.0);
    // Sell 300 at 24: 100 closed at a gain of 1 each, 200 short at 24.
    assert_eq!(fold(&mut position, &[(5, -300.0, 24.0)]), [100.0]);
    assert_eq!(
        (position.net_quantity().to_f64(), position.avg_entry_price()),
        (-200.0, Some(24.0))
    );
    // Zero is ignored, at any price.
    assert_eq!(fold(&mut position, &[(6, 0.0, 1e9), (7, 200.0, 24.0)]), [0.0]);
    assert_eq!(position, Position::default());
    assert_eq!((position.avg_entry_price(), position.is_flat()), (None, true));
}

#[test]
fn what_was_rounded_is_not_lost() {
    let mut position = Position::default();
    // Cost of three: 10.00000001 in all; a third of it has no end.
    let fills = [
        (1, 2.0, 5.0),
        (2, 1.0, 1e-8),
        (3, -1.0, 4.0),
        (4, -1.0, 4.0),
        (5, -1.0, 4.0),
    ];
    let mut realized = 0;
    for (second, quantity, price) in fills {
        let close = position.apply(&fill(second, quantity, price)).unwrap();
        realized += close.map_or(0, |close| close.pnl.units());
    }
    assert_eq!(realized, 12 * 10_i128.pow(16) - 10 * 10_i128.pow(16) - 10_i128.pow(8));
    assert!(position.is_flat());
}

#[test]
fn a_day_by_hand() {
    let mut book = Book::default();
    let day = day_of(
        &mut book,
        &[
            (0, "A", 100.0, 10.0),
            (10, "B", -10.0, 50.0),
            (20, "A", -40.0, 12.0), // +80, held 20 s
            (20, "A", 0.0, 7.0),
            (30, "B", 20.0, 60.0),  // -100, held 20 s, 10 long at 60
            (40, "A", -60.0, 11.0), // +60, held 40 s
            (50, "B", -10.0, 55.0), // -50, held 20 s
        ],
    );
    let day = day.unwrap();
    assert_eq!(day.realized_pnl, -10.0);
    assert_eq!((day.trade_count, day.total_volume), (7, 240.0));
    assert_eq!(day.win_rate, Some(0.5));
    // 80, -20, 40, -10: from 80 down to -20.
    assert_eq!(day.max_drawdown, 100.0);
    // Mean -2.5; squares 82.5^2 + 97.5^2 + 62.5^2 + 47.5^2 = 22475, over 3.
    let expected = -2.5 / (22_475.0_f64 / 3.0).sqrt();
    assert!((day.sharpe_proxy.unwrap() - expected).abs() < 1e-15);
    // (40 * 20 + 10 * 20 + 60 * 40 + 10 * 20) / 120
    assert_eq!(day.avg_hold_seconds, Some(30.0));
    assert_eq!(book, Book::default());
}

#[test]
fn days_with_little() {
    let mut book = Book::default();
    assert_eq!(day_of(&mut book, &[]), None);
    let opening = day_of(&mut book, &[(0, "A", 5.0, 10.0)]).unwrap();
    let nothing = Performance {
        realized_pnl: 0.0,
        win_rate: None,
        trade_count: 1,
        total_volume: 5.0,
        max_drawdown: 0.0,
        sharpe_proxy: None,
        avg_hold_seconds: None,
    };
    assert_eq!(opening, nothing);
    // Over the night: a day and an hour later, against the basis carried.
    let closing = day_of(&mut book, &[(90_000, "A", -5.0, 8.0)]).unwrap();
    let expected = Performance {
        realized_pnl: -10.0,
        win_rate: Some(0.0),
        // From a peak of 0.
        max_drawdown: 10.0,
        avg_hold_seconds: Some(90_000.0),
        ..nothing
    };
    assert_eq!(closing, expected);
    // Two equal profits have no deviation.
    let even = day_of(
        &mut book,
        &[
            (90_001, "A", 2.0, 1.1),
            (90_002, "A", -1.0, 1.3),
            (90_003, "A", -1.0, 1.3),
        ],
    );
    assert_eq!(even.unwrap().sharpe_proxy, None);
    let idle = day_of(&mut book, &[(90_004, "A", 0.0, 1.0)]).unwrap();
    assert_eq!((idle.trade_count, idle.total_volume, idle.win_rate), (1, 0.0, None));
    assert_eq!(book, Book::default());
}

#[test]
fn oldest_lots_are_closed_first() {
    let mut position = Position::default();
    let mut held = |second: i64, quantity: f64| {
        let close = position.apply(&fill(second * 1_000_000, quantity, 1.0)).unwrap();
        close.map(|close| (close.held as f64 / 1e14, close.quantity.to_f64()))
    };
    assert_eq!(held(0, 10.0), None);
    assert_eq!(held(60, 10.0), None);
    // Equal timestamps are one lot.
    assert_eq!(held(60, 10.0), None);
    // 10 over 100 s, 5 over 40 s.
    assert_eq!(held(100, -15.0), Some((1_200.0, 15.0)));
    // 15 over 60 s; 5 opened short at 120 s.
    assert_eq!(held(120, -20.0), Some((900.0, 15.0)));
    assert_eq!(held(120, 5.0), Some((0.0, 5.0)));
    assert!(position.lots.is_empty());
}

#[test]
fn equal_timestamps_are_ordered_by_event_and_key() {
    let of = |event_us, trade_id, quantity| SymbolFill {
        symbol: "A",
        event_us,
        trade_id,
        fill: fill(5, quantity, 1.0),
    };
    let right = [of(1, "b", 1.0), of(2, "a", 2.0), of(2, "b", 3.0)];
    assert!(Fills::in_order(&right).is_ok());
    let mut shuffled = [right[2], right[0], right[1]];
    assert_eq!(Fills::in_order(&shuffled).unwrap_err(), PositionError::Order);
    assert!(Fills::sort(&mut shuffled).is_ok());
    assert_eq!(shuffled, right);
    assert_eq!(
        Fills::sort(&mut [right[0], right[0]]).unwrap_err(),
        PositionError::Order
    );
}

#[test]
fn what_is_too_large_changes_nothing() {
    let mut position = Position::default();
    let most = 92_233_720_368.0;
    assert_eq!(Price::from_f64(most + 1.0), Err(PositionError::Number("price")));
    assert_eq!(Quantity::from_f64(f64::NAN), Err(PositionError::Number("quantity")));
    position.apply(&fill(10, most, most)).unwrap();
    let before = position.clone();
    let refused = [
        (fill(11, 1.0, 1.0), PositionError::Overflow("position")),
        (fill(9, -1.0, 1.0), PositionError::Order),
    ];
    for (fill, error) in refused {
        assert_eq!(position.apply(&fill), Err(error));
        assert_eq!(position, before);
    }
    // All of it, turned over at once, at the worst price.
    let close = position.apply(&fill(i64::MAX / 2, -most, -most)).unwrap().unwrap();
    assert!((close.pnl.to_f64() + 2.0 * most * most).abs() < 1e-15 * most * most);
    assert!(position.is_flat());
}

#[test]
fn a_broken_state_is_refused() {
    let good = r#"{"net":-300,"cost":"600","lots":[[1,100],[2,200]]}"#;
    let position: Position = serde_json::from_str(good).unwrap();
    assert_eq!(serde_json::to_string(&position).unwrap(), good);
    for (from, to) in [
        ("-300", "-301"),
        ("600", "6x"),
        ("\"600\"", "\"9999999999999999999999999\""),
        ("[1,100],[2,200]", "[2,200],[1,100]"),
        ("[1,100],[2,200]", "[1,400],[2,-100]"),
        ("\"net\"", "\"more\":1,\"net\""),
    ] {
        assert!(
            serde_json::from_str::<Position>(&good.replace(from, to)).is_err(),
            "{to}"
        );
    }
    for (from, to) in [
        ("600", "601"),
        ("[1,", "[0,"),
        ("[[1,100],[2,200]]", "[[1,101],[2,199]]"),
    ] {
        let other: Position = serde_json::from_str(&good.replace(from, to)).unwrap();
        assert_ne!(other.hash(), position.hash(), "{to}");
    }
}
