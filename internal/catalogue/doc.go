// SPDX-License-Identifier: Apache-2.0

// Package catalogue reads the operator's list of services: what an entry says, what
// it stands for when it says nothing, and what is wrong with it.
//
// An entry becomes a vpc.CatalogueService. Check looks at the entries alone and
// beside what there is already, and answers every problem with the field it is in,
// so that whoever read the entries can tell the line. It is pure: files that an entry
// names are read before, with ReadFiles.
package catalogue
