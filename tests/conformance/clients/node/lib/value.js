/** JSON documents and google.protobuf.Value, both ways. */

/**
 * Turns JSON into a Value. Numbers are doubles on either side.
 * @param {unknown} json what JSON.parse answers
 */
export function toValue(json) {
  if (json === null) return { nullValue: 'NULL_VALUE' };
  if (Array.isArray(json)) return { listValue: { values: json.map(toValue) } };
  switch (typeof json) {
    case 'string':
      // Half a surrogate pair is no Unicode, and gRPC refuses what is none.
      return { stringValue: json.toWellFormed() };
    case 'number':
      return { numberValue: json };
    case 'boolean':
      return { boolValue: json };
    default: {
      const entries = Object.entries(json);
      const fields = entries.map(([key, item]) => [key.toWellFormed(), toValue(item)]);
      return { structValue: { fields: Object.fromEntries(fields) } };
    }
  }
}

/** Turns a Value into JSON. */
export function fromValue(value) {
  switch (value.kind) {
    case 'listValue':
      return value.listValue.values.map(fromValue);
    case 'structValue': {
      const entries = Object.entries(value.structValue.fields ?? {});
      return Object.fromEntries(entries.map(([key, item]) => [key, fromValue(item)]));
    }
    case 'nullValue':
      return null;
    default:
      return value[value.kind];
  }
}
