// Reads a Parquet file of batchrun with DuckDB: node duckdb.mjs FILE ROWS
import { DuckDBInstance } from '@duckdb/node-api';

const [path, rows] = process.argv.slice(2);
const want = {
  record_id: 'VARCHAR', source: 'VARCHAR', line: 'BIGINT', model_id: 'VARCHAR', model_input: 'VARCHAR', model_output: 'VARCHAR',
  text: 'VARCHAR', stop_reason: 'VARCHAR', input_tokens: 'BIGINT', output_tokens: 'BIGINT', cache_read_input_tokens: 'BIGINT',
  cache_write_input_tokens: 'BIGINT', started_at: 'TIMESTAMP WITH TIME ZONE', queued_ms: 'DOUBLE', connect_ms: 'DOUBLE',
  first_token_ms: 'DOUBLE', first_text_ms: 'DOUBLE', total_ms: 'DOUBLE', elapsed_ms: 'DOUBLE', inter_token_p50_ms: 'DOUBLE',
  inter_token_max_ms: 'DOUBLE', server_first_byte_ms: 'DOUBLE', server_total_ms: 'DOUBLE', attempts: 'INTEGER',
  request_id: 'VARCHAR', metadata: 'VARCHAR',
};
const faults = [];
const connection = await (await DuckDBInstance.create()).connect();
const file = `read_parquet('${path.replaceAll("'", "''")}')`;
const ask = async (sql) => (await connection.runAndReadAll(sql)).getRowObjects();

const have = await ask(`DESCRIBE SELECT * FROM ${file}`);
const names = have.map((c) => c.column_name);
if (names.join() !== Object.keys(want).join()) faults.push(`columns are ${names.join()}`);
for (const c of have) {
  if (want[c.column_name] !== c.column_type) faults.push(`${c.column_name} is ${c.column_type}, expected ${want[c.column_name]}`);
}
const [counts] = await ask(`SELECT count(*) AS n, count(DISTINCT record_id) AS ids, count(started_at) AS times,
  min(started_at)::VARCHAR AS first FROM ${file}`);
if (rows >= 0 && counts.n !== BigInt(rows)) faults.push(`${counts.n} rows, expected ${rows}`);
if (counts.ids !== counts.n) faults.push(`${counts.ids} record ids in ${counts.n} rows`);
if (counts.times !== counts.n) faults.push(`started_at is missing in ${counts.n - counts.times} rows`);
for (const column of ['model_input', 'model_output', 'metadata']) {
  const [bad] = await ask(`SELECT count(*) AS n FROM ${file} WHERE ${column} IS NOT NULL AND NOT json_valid(${column})`);
  if (bad.n > 0n) faults.push(`${column} is not JSON in ${bad.n} rows`);
}
for (const f of faults) console.log(`duckdb: ${f}`);
console.log(`duckdb: ${counts.n} rows, ${names.length} columns, from ${counts.first}: ${faults.length} faults`);
process.exit(faults.length > 0 ? 1 : 0);
