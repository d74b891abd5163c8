/**
 * Options of every schema.
 *
 * No member is ever removed from a document: "not yet" is null. The sandbox's MongoDB server writes updates
 * to its oplog as `$set` of the whole document, in which a removal would be lost.
 */
export const OPTIONS = { timestamps: true, versionKey: false, strict: 'throw', minimize: false };
