//! Finished trials, told to an MLflow tracking server by its REST interface (version 2.0).
//!
//! The output folder remains what an experiment is resumed and reported from: a server that
//! does not answer costs a message and no trial. A run carries its trial's hash as a tag, by
//! which it is found again, so that a resumed experiment tells no trial twice.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use ureq::Agent;

use super::plan::ExperimentPlan;
use super::trial::TrialResult;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Tag of a run that holds its trial's hash.
const HASH_TAG: &str = "admix.trial_hash";

/// Runs that one search returns at most.
const PAGE: u64 = 1_000;

/// Names of the twelve numbers, in their order.
const STATS: [&str; 12] = [
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar_100",
    "ar_small",
    "ar_medium",
    "ar_large",
];

/// Why a tracking server could not be told something.
#[derive(Debug, Error)]
pub enum TrackerError {
    #[error(
        "{address} is no address of a tracking server; give one such as http://127.0.0.1:5000{https}"
    )]
    Address {
        address: String,
        https: &'static str,
    },
    #[error("the tracking server did not take {path}: {message}")]
    Server { path: String, message: String },
}

/// Tells the time in milliseconds since the beginning of 1970, as the interface wants it.
pub type Clock = fn() -> u64;

/// An experiment on a tracking server.
#[derive(Debug)]
pub struct Tracker {
    agent: Agent,
    address: String,
    /// Value of the `Authorization` header, if one is to be sent.
    authorization: Option<String>,
    experiment: String,
    clock: Clock,
    /// Hashes of the trials that the server has.
    known: Mutex<BTreeSet<String>>,
}

/// Who asks, as MLflow's own client takes it from `MLFLOW_TRACKING_TOKEN`, or
/// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub token: Option<String>,
    pub user: Option<(String, String)>,
}

/// Secrets do not belong into logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    fn header(&self) -> Option<String> {
        use base64::Engine;
        if let Some(token) = &self.token {
            return Some(format!("Bearer {token}"));
        }
        let (name, password) = self.user.as_ref()?;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        Some(format!("Basic {pair}"))
    }
}

impl Tracker {
    /// Opens the experiment called `name` on the server at `address`, and makes it where there
    /// is none.
    ///
    /// # Errors
    /// An address that is none; a server that does not answer or refuses.
    pub fn open(
        address: &str,
        name: &str,
        credentials: &Credentials,
        clock: Clock,
    ) -> Result<Self, TrackerError> {
        let has_https = cfg!(feature = "https");
        let schemes: &[&str] = match has_https {
            true => &["http://", "https://"],
            false => &["http://"],
        };
        if !schemes.iter().any(|scheme| address.starts_with(scheme)) {
            return Err(TrackerError::Address {
                address: address.to_owned(),
                https: match has_https {
                    true => "",
                    false => "; for https:// build with `--features https`",
                },
            });
        }
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // The body of a refusal says why.
            .http_status_as_error(false)
            .build();
        let mut tracker = Tracker {
            agent: config.into(),
            address: address.trim_end_matches('/').to_owned(),
            authorization: credentials.header(),
            experiment: String::new(),
            clock,
            known: Mutex::new(BTreeSet::new()),
        };
        tracker.experiment = tracker.experiment_called(name)?;
        tracker.known = Mutex::new(tracker.hashes()?);
        Ok(tracker)
    }

    /// Tells the server of a finished trial, if it has not been told.
    ///
    /// # Errors
    /// A server that does not answer or refuses.
    pub fn tell(&self, plan: &ExperimentPlan, result: &TrialResult) -> Result<(), TrackerError> {
        let hash = result.trial.hash.as_str();
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(hash) {
            return Ok(());
        }
        let now = (self.clock)();
        let began = now.saturating_sub((result.seconds * 1e3) as u64);
        let created = self.post(
            "runs/create",
            &json!({
                "experiment_id": self.experiment,
                "run_name": result.trial.id,
                "start_time": began,
            }),
        )?;
        let run = text(&created, &["run", "info", "run_id"], "runs/create")?;
        let params: Vec<Value> = params(plan, result)
            .into_iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let metrics: Vec<Value> = metrics(result)
            .into_iter()
            .map(|(key, value)| json!({"key": key, "value": value, "timestamp": now, "step": 0}))
            .collect();
        // The tag last: without it the trial is told again.
        self.post(
            "runs/log-batch",
            &json!({"run_id": run, "params": params, "metrics": metrics}),
        )?;
        self.post(
            "runs/set-tag",
            &json!({"run_id": run, "key": HASH_TAG, "value": hash}),
        )?;
        self.post(
            "runs/update",
            &json!({"run_id": run, "status": "FINISHED", "end_time": now}),
        )?;
        known().insert(hash.to_owned());
        Ok(())
    }

    fn experiment_called(&self, name: &str) -> Result<String, TrackerError> {
        let path = "experiments/search";
        // Names are compared here, so that no name has to be written into a filter.
        let mut page = None;
        loop {
            let found = self.post(path, &with_page(json!({"max_results": PAGE}), page))?;
            let experiments = found["experiments"].as_array().into_iter().flatten();
            for experiment in experiments {
                if experiment["name"] == name {
                    return text(experiment, &["experiment_id"], path);
                }
            }
            page = next_page(&found);
            if page.is_none() {
                break;
            }
        }
        let path = "experiments/create";
        let created = self.post(path, &json!({"name": name}))?;
        text(&created, &["experiment_id"], path)
    }

    /// Hashes of the trials that the experiment has runs of.
    fn hashes(&self) -> Result<BTreeSet<String>, TrackerError> {
        let mut hashes = BTreeSet::new();
        let mut page = None;
        loop {
            let asked = json!({"experiment_ids": [self.experiment], "max_results": PAGE});
            let found = self.post("runs/search", &with_page(asked, page))?;
            for run in found["runs"].as_array().into_iter().flatten() {
                let tags = run["data"]["tags"].as_array().into_iter().flatten();
                let own = tags.filter(|tag| tag["key"] == HASH_TAG);
                hashes.extend(own.filter_map(|tag| tag["value"].as_str().map(str::to_owned)));
            }
            page = next_page(&found);
            if page.is_none() {
                return Ok(hashes);
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, TrackerError> {
        let fail = |message: &dyn Display| TrackerError::Server {
            path: path.to_owned(),
            message: message.to_string(),
        };
        let mut request = self
            .agent
            .post(format!("{}/api/2.0/mlflow/{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut answer = request.send_json(body).map_err(|error| fail(&error))?;
        let content = answer.body_mut().read_to_string();
        let content = content.map_err(|error| fail(&error))?;
        if !answer.status().is_success() {
            // MLflow's own refusals are JSON with a message.
            let told: Option<Value> = serde_json::from_str(&content).ok();
            let told = told.and_then(|told| told["message"].as_str().map(str::to_owned));
            let message = format!("{} {}", answer.status(), told.unwrap_or_default());
            return Err(fail(&message.trim()));
        }
        serde_json::from_str(&content).map_err(|error| fail(&error))
    }
}

fn with_page(mut asked: Value, page: Option<String>) -> Value {
    if let Some(page) = page {
        asked["page_token"] = page.into();
    }
    asked
}

fn next_page(found: &Value) -> Option<String> {
    let token = found["next_page_token"].as_str()?;
    (!token.is_empty()).then(|| token.to_owned())
}

fn text(value: &Value, keys: &[&str], path: &str) -> Result<String, TrackerError> {
    let found = keys.iter().fold(value, |value, key| &value[*key]);
    found
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| TrackerError::Server {
            path: path.to_owned(),
            message: format!("the answer has no {}", keys.join(".")),
        })
}

/// What a trial was run with.
fn params(plan: &ExperimentPlan, result: &TrialResult) -> Vec<(&'static str, String)> {
    let condition = result.trial.condition;
    let sources = plan.sources();
    let source = sources.get(condition.source).map_or("", |(name, _)| name);
    let mut params = vec![
        ("real_images", condition.n_real.to_string()),
        ("synthetic_images", condition.n_synthetic.to_string()),
        ("regime", condition.regime.name().to_owned()),
        ("source", source.to_owned()),
        ("seed", result.trial.seed.to_string()),
        ("rate", plan.rate_of(condition).to_string()),
        ("steps", result.measurement.steps.to_string()),
    ];
    if let Some(cell) = plan.crossing.name(condition.cell) {
        params.push(("factors", cell));
    }
    params
}

/// What was measured, without what is undefined.
fn metrics(result: &TrialResult) -> Vec<(String, f64)> {
    let measured = &result.measurement;
    let stats = STATS.iter().zip(measured.stats);
    let stats = stats.map(|(name, value)| (format!("test_{name}"), Some(value)));
    let others = [
        ("val_ap", measured.validation_ap),
        ("generator_fit", measured.generator_fit()),
        ("vendi_score", measured.diversity),
        ("domain_auc", measured.domain_auc),
        ("seconds", Some(result.seconds)),
    ];
    let others = others.map(|(name, value)| (name.to_owned(), value));
    stats
        .filter(|(_, value)| value.is_some_and(|ap| ap >= 0.0))
        .chain(others)
        .filter_map(|(name, value)| Some((name, value.filter(|v| v.is_finite())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::super::plan::tests::plan;
    use super::super::runner::run;
    use super::super::runner::tests::{Mock, ONE};
    use super::super::trial::{Measurement, Trial};
    use super::super::{Executor, ExperimentError};
    use super::*;
    use crate::observer::{Observer, Silent};

    /// What a server was asked: path, `Authorization`, body.
    type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

    /// A server that answers as MLflow does for one experiment, runs a page each. It refuses the
    /// request of that number, if one is given.
    fn serve(refuse: Option<usize>) -> (String, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut tagged: Vec<Value> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length, mut who) = (String::new(), 0, String::new());
                reader.read_line(&mut head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let Some((name, value)) = line.trim().split_once(": ") else {
                        break;
                    };
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "authorization" => value.clone_into(&mut who),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let name = path.trim_start_matches("/api/2.0/mlflow/").to_owned();
                let answer = match name.as_str() {
                    "experiments/create" => json!({"experiment_id": "7"}),
                    "runs/create" => json!({"run": {"info": {"run_id": "r"}}}),
                    "runs/search" => {
                        let page: usize =
                            body["page_token"].as_str().unwrap_or("0").parse().unwrap();
                        let next = (page + 1 < tagged.len()).then(|| (page + 1).to_string());
                        let tags = tagged.get(page).cloned();
                        json!({"runs": [{"data": {"tags": [tags]}}], "next_page_token": next})
                    }
                    "runs/set-tag" => {
                        tagged.push(json!({"key": body["key"], "value": body["value"]}));
                        json!({})
                    }
                    _ => json!({}),
                };
                let mut log = log.lock().unwrap();
                let (status, answer) = match refuse == Some(log.len()) {
                    true => ("403 Forbidden", json!({"message": "not you"})),
                    false => ("200 OK", answer),
                };
                log.push((name, who, body));
                drop(log);
                let answer = answer.to_string();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                )
                .unwrap();
            }
        });
        (address, asked)
    }

    /// The mock, which tells.
    struct Telling(Mock, ExperimentPlan, Tracker);

    impl Executor for Telling {
        fn units(&self, _: &Trial) -> u64 {
            1
        }

        fn run(
            &self,
            trial: &Trial,
            folder: &std::path::Path,
            observer: &dyn Observer,
        ) -> Result<Measurement, ExperimentError> {
            self.0.run(trial, folder, observer)
        }

        fn finished(&self, result: &TrialResult, _: &dyn Observer) {
            self.2.tell(&self.1, result).unwrap();
        }
    }

    #[test]
    fn each_trial_is_told_once_however_often_the_experiment_is_run() {
        let (address, asked) = serve(None);
        let folder = tempfile::tempdir().unwrap();
        let plan = plan();
        for _ in 0..2 {
            let user = Some(("u".to_owned(), "p".to_owned()));
            let credentials = Credentials { token: None, user };
            let tracker =
                Tracker::open(&(address.clone() + "/"), "demo", &credentials, || 9_000_000)
                    .unwrap();
            let executor = Telling(Mock::new(0.01), plan.clone(), tracker);
            run(&plan, folder.path(), &executor, ONE, &Silent).unwrap();
        }
        let asked = asked.lock().unwrap();
        let of = |path: &str| -> Vec<&Value> {
            let own = asked.iter().filter(|(name, ..)| name == path);
            own.map(|(.., body)| body).collect()
        };
        assert_eq!(of("runs/create").len(), 30);
        assert_eq!(of("runs/update").len(), 30);
        assert_eq!(of("runs/search").len(), 1 + 30, "every page is asked for");
        let first = of("runs/create")[0];
        assert_eq!(
            (&first["experiment_id"], &first["run_name"]),
            (&json!("7"), &json!("r100-s0-seed7"))
        );
        let batch = of("runs/log-batch")[0];
        let value = |kind: &str, key: &str| -> Value {
            let entries = batch[kind].as_array().unwrap();
            let found = entries.iter().find(|entry| entry["key"] == key);
            found.map_or(Value::Null, |entry| entry["value"].clone())
        };
        assert_eq!(value("params", "real_images"), "100");
        assert_eq!(value("params", "seed"), "7");
        let ap = value("metrics", "test_ap").as_f64().unwrap();
        assert!((0.38..0.42).contains(&ap), "{ap}");
        assert_eq!(
            value("metrics", "test_ap_small"),
            Value::Null,
            "it is undefined"
        );
        assert!(asked.iter().all(|(_, who, _)| who == "Basic dTpw"));
    }

    #[test]
    fn a_refusal_is_told_with_what_the_server_says() {
        let none = Credentials::default();
        let (address, _) = serve(Some(0));
        let error = Tracker::open(&address, "demo", &none, || 0).unwrap_err();
        assert!(
            error.to_string().contains("403 Forbidden not you"),
            "{error}"
        );
        let error = Tracker::open("127.0.0.1:5000", "demo", &none, || 0).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no address of a tracking server"),
            "{error}"
        );
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = Tracker::open(&format!("http://{closed}"), "demo", &none, || 0).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("did not take experiments/search"),
            "{error}"
        );
        let secret = Credentials {
            token: Some("secret".into()),
            user: None,
        };
        assert_eq!(secret.header().unwrap(), "Bearer secret");
        assert!(!format!("{secret:?}").contains("secret"));
    }
}
