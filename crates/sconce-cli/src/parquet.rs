//! Rows of statistics as a Parquet file: the columns are the keys of the rows of JSON, and what a row lacks is null.

use std::io::Write;
use std::sync::Arc;

use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use sconce::{Error, ErrorKind, Result};
use serde_json::Value;

/// Rows that are held until they are written together.
const GROUP: usize = 1 << 14;

/// What the cells of a column hold.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Number,
    Integers,
}

/// The columns, in order.
const COLUMNS: &[(&str, Kind)] = &[
    ("file", Kind::Text),
    ("format", Kind::Text),
    ("name", Kind::Text),
    ("dtype", Kind::Text),
    ("shape", Kind::Integers),
    ("count", Kind::Integer),
    ("bytes", Kind::Integer),
    ("min", Kind::Number),
    ("max", Kind::Number),
    ("mean", Kind::Number),
    ("std", Kind::Number),
    ("norm", Kind::Number),
    ("abs_max", Kind::Number),
    ("zeros", Kind::Integer),
    ("nan", Kind::Integer),
    ("pos_inf", Kind::Integer),
    ("neg_inf", Kind::Integer),
    ("histogram", Kind::Integers),
    ("no_statistics", Kind::Text),
    ("hash", Kind::Text),
];

/// What a table is written to.
type Out<'a> = &'a mut (dyn Write + Send);

/// A file that grows by rows.
pub(crate) struct Table<'a> {
    writer: SerializedFileWriter<Out<'a>>,
    rows: Vec<Value>,
    written: usize,
}

impl<'a> Table<'a> {
    /// Begins a file.
    pub(crate) fn new(out: Out<'a>) -> Result<Self> {
        let writer = parse_message_type(&schema()).and_then(|schema| {
            SerializedFileWriter::new(out, Arc::new(schema), Arc::new(WriterProperties::builder().build()))
        });
        Ok(Self { writer: writer.map_err(failed)?, rows: Vec::new(), written: 0 })
    }

    /// Adds a row: an object whose keys are names of columns.
    pub(crate) fn push(&mut self, row: Value) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() == GROUP { self.flush() } else { Ok(()) }
    }

    /// Ends the file; the number of its rows.
    pub(crate) fn finish(mut self) -> Result<usize> {
        self.flush()?;
        self.writer.finish().map_err(failed)?;
        Ok(self.written)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            write_group(&mut self.writer, &rows).map_err(failed)?;
        }
        self.written += rows.len();
        Ok(())
    }
}

fn failed(error: ParquetError) -> Error {
    Error::new(ErrorKind::Io, "the Parquet file cannot be written").with_source(error)
}

fn schema() -> String {
    let column = |&(name, kind): &(&str, Kind)| match kind {
        Kind::Text => format!("optional binary {name} (STRING);"),
        Kind::Integer => format!("optional int64 {name};"),
        Kind::Number => format!("optional double {name};"),
        Kind::Integers => {
            format!("optional group {name} (LIST) {{ repeated group list {{ required int64 element; }} }}")
        }
    };
    format!("message statistics {{ {} }}", COLUMNS.iter().map(column).collect::<String>())
}

fn write_group(
    writer: &mut SerializedFileWriter<Out<'_>>,
    rows: &[Value],
) -> std::result::Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for &(name, _) in COLUMNS {
        let cells: Vec<Option<&Value>> =
            rows.iter().map(|row| row.get(name).filter(|cell| !cell.is_null())).collect();
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General(format!("no column {name}")));
        };
        // How much of the path to a value is there: nothing of null, the list of an empty one, all of a value.
        let mut there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
        let cells = cells.into_iter().flatten();
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let texts: Vec<_> = cells.filter_map(|c| c.as_str().map(ByteArray::from)).collect();
                column.write_batch(&texts, Some(&there), None)?;
            }
            ColumnWriter::DoubleColumnWriter(column) => {
                let numbers: Vec<_> = cells.filter_map(Value::as_f64).collect();
                column.write_batch(&numbers, Some(&there), None)?;
            }
            ColumnWriter::Int64ColumnWriter(column) if column.get_descriptor().max_rep_level() == 0 => {
                let numbers: Vec<_> = cells.filter_map(Value::as_i64).collect();
                column.write_batch(&numbers, Some(&there), None)?;
            }
            ColumnWriter::Int64ColumnWriter(column) => {
                let (mut numbers, mut again) = (Vec::new(), Vec::new());
                there.clear();
                for row in rows {
                    again.push(0);
                    match row.get(name).and_then(Value::as_array) {
                        None => there.push(0),
                        Some(list) if list.is_empty() => there.push(1),
                        Some(list) => {
                            there.extend(list.iter().map(|_| 2));
                            again.extend(list.iter().skip(1).map(|_| 1));
                            numbers.extend(list.iter().filter_map(Value::as_i64));
                        }
                    }
                }
                column.write_batch(&numbers, Some(&there), Some(&again))?;
            }
            _ => return Err(ParquetError::General(format!("no values for column {name}"))),
        }
        column.close()?;
    }
    group.close()?;
    Ok(())
}
