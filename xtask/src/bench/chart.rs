//! The chart beside the table: verifications per second over connections, as SVG text.

use super::figures::{Figures, Run};
use super::page::whole;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 270.0;
const COLOURS: [&str; 5] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b"];

/// A group of bars for each database and count of connections, a bar for each way to fill and use it.
pub(crate) fn svg(figures: &Figures) -> String {
    let kinds = distinct(figures.runs.iter().map(kind));
    let groups = distinct(
        figures
            .runs
            .iter()
            .map(|run| (run.scene.clone(), run.connections)),
    );
    let highest = figures.runs.iter().map(|run| run.per_second);
    let highest = highest.fold(1.0, f64::max);
    let group_width = (WIDTH - 2.0 * LEFT) / groups.len().max(1) as f64;
    let bar_width = 0.85 * group_width / kinds.len().max(1) as f64;
    let mut body = String::new();
    for run in &figures.runs {
        let group = groups
            .iter()
            .position(|(scene, connections)| *scene == run.scene && *connections == run.connections)
            .unwrap_or(0);
        let place = kinds
            .iter()
            .position(|found| *found == kind(run))
            .unwrap_or(0);
        let height = (BOTTOM - TOP) * run.per_second / highest;
        let x = LEFT + group as f64 * group_width + place as f64 * bar_width;
        let colour = COLOURS[place % COLOURS.len()];
        body += &format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"><title>{}: {}</title></rect>\n",
            BOTTOM - height,
            bar_width * 0.9,
            escaped(&format!(
                "{}, {} connections, {}",
                run.scene,
                run.connections,
                kind(run)
            )),
            whole(run.per_second),
        );
    }
    body += &names(&groups, &kinds, group_width);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         {}{body}</svg>\n",
        label(
            LEFT,
            16.0,
            "start",
            &format!(
                "Verifications per second over connections; the highest bar is {}",
                whole(highest)
            )
        ),
    )
}

/// What stands below the groups and above them.
fn names(groups: &[(String, u32)], kinds: &[String], group_width: f64) -> String {
    let mut body = String::new();
    for (index, (scene, connections)) in groups.iter().enumerate() {
        let x = LEFT + (index as f64 + 0.42) * group_width;
        body += &label(x, BOTTOM + 15.0, "middle", &connections.to_string());
        if index == 0 || groups[index - 1].0 != *scene {
            let x = LEFT + index as f64 * group_width;
            body += &label(x, BOTTOM + 35.0, "start", scene);
        }
    }
    for (index, kind) in kinds.iter().enumerate() {
        let x = LEFT + index as f64 * 165.0;
        let colour = COLOURS[index % COLOURS.len()];
        body += &format!(
            "<rect x=\"{x:.1}\" y=\"26\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\n"
        );
        body += &label(x + 14.0, 35.0, "start", kind);
    }
    body
}

/// How the database was filled and used.
fn kind(run: &Run) -> String {
    let order = run.order.replace('_', " ");
    format!("{} devices, {order}", whole(f64::from(run.stored)))
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = escaped(text);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Each thing once, in the order of its first appearance.
fn distinct<T: PartialEq>(things: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for thing in things {
        if !found.contains(&thing) {
            found.push(thing);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(text: &str) -> Vec<(f64, f64)> {
        let bars = text.lines().filter(|line| line.contains("<title>"));
        let number = |line: &str, name: &str| -> f64 {
            let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        bars.map(|line| (number(line, "x"), number(line, "height")))
            .collect()
    }

    #[test]
    fn every_run_has_a_bar_of_its_height_in_its_group() {
        let figures: Figures = serde_json::from_str(include_str!("sample.json")).unwrap();
        let text = svg(&figures);
        let bars = bars(&text);
        assert_eq!(bars.len(), 3);
        assert_eq!(bars[0].1, BOTTOM - TOP, "the highest fills the chart");
        assert_eq!(
            bars[1].1,
            (BOTTOM - TOP) / 2.0,
            "half as many, half as high"
        );
        assert!(bars[0].0 < bars[1].0 && bars[1].0 < bars[2].0);
        assert_eq!(text.matches("<text").count(), 1 + 3 + 2 + 2);
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
    }

    #[test]
    fn words_cannot_break_the_picture() {
        let run = Run {
            scene: "a<b & c".to_owned(),
            per_second: 1.0,
            ..Run::default()
        };
        let figures = Figures {
            runs: vec![run],
            ..Figures::default()
        };
        let text = svg(&figures);
        assert!(text.contains("a&lt;b &amp; c") && !text.contains("a<b"));
        assert!(svg(&Figures::default()).ends_with("</svg>\n"));
    }
}
