//! From the declaration to a checked description of it. All errors are found here, before any code is written.

use quote::ToTokens;
use std::collections::HashSet;
use std::fmt::Display;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Generics, Ident, Index, Lit, LitStr, Member, Meta, Token,
    Type,
};

/// A declaration that `Module` can be derived for.
pub(crate) struct Input {
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Struct(Vec<Field>),
    Enum(Vec<Variant>),
}

pub(crate) struct Variant {
    pub(crate) ident: Ident,
    pub(crate) fields: Vec<Field>,
}

/// A field that is shown; skipped ones are gone by now.
pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) name: String,
    pub(crate) ty: Type,
}

/// Checks a declaration; the error is all errors of it in one.
pub(crate) fn check(input: DeriveInput) -> syn::Result<Input> {
    let mut errors = Errors::default();
    errors.refuse_attributes(&input.attrs, "type");
    let body = match input.data {
        Data::Struct(data) => Body::Struct(fields(data.fields, &mut errors)),
        Data::Enum(data) => Body::Enum(
            data.variants
                .into_iter()
                .map(|variant| {
                    errors.refuse_attributes(&variant.attrs, "variant");
                    Variant { ident: variant.ident, fields: fields(variant.fields, &mut errors) }
                })
                .collect(),
        ),
        Data::Union(data) => {
            errors
                .add(data.union_token, "`Module` cannot be derived for a union: its active field is unknown");
            Body::Struct(Vec::new())
        }
    };
    errors.none_or().map(|()| Input { name: input.ident, generics: input.generics, body })
}

fn fields(fields: syn::Fields, errors: &mut Errors) -> Vec<Field> {
    let mut seen = HashSet::new();
    let mut shown = Vec::new();
    for (i, field) in fields.into_iter().enumerate() {
        let attributes = Attributes::of(&field.attrs, errors);
        if attributes.skip {
            continue;
        }
        let member = field.ident.map_or_else(|| Member::Unnamed(Index::from(i)), Member::Named);
        let name = match &attributes.rename {
            Some(name) => name.value(),
            None => match &member {
                Member::Named(ident) => ident.unraw().to_string(),
                Member::Unnamed(index) => index.index.to_string(),
            },
        };
        if !seen.insert(name.clone()) {
            let message = format!("another field is named `{name}` already");
            match (&attributes.rename, &member) {
                (Some(rename), _) => errors.add(rename, message),
                (None, Member::Named(ident)) => errors.add(ident, message),
                (None, Member::Unnamed(_)) => errors.add(&field.ty, message),
            }
        }
        shown.push(Field { member, name, ty: field.ty });
    }
    shown
}

/// What `#[module(…)]` says about a field.
#[derive(Default)]
struct Attributes {
    skip: bool,
    rename: Option<LitStr>,
}

impl Attributes {
    fn of(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("module")) {
            match attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
                Ok(metas) if metas.is_empty() => {
                    errors.add(attribute, "expected `skip` or `rename = \"…\"`, found nothing");
                }
                Ok(metas) => metas.iter().for_each(|meta| found.read(meta, errors)),
                Err(error) => errors.push(error),
            }
        }
        found
    }

    fn read(&mut self, meta: &Meta, errors: &mut Errors) {
        let path = meta.path();
        if path.is_ident("skip") {
            if self.skip {
                errors.add(meta, "repeated attribute `skip`");
            } else if !matches!(meta, Meta::Path(_)) {
                errors.add(meta, "`skip` takes no value");
            } else if self.rename.is_some() {
                errors.add(meta, SKIP_AND_RENAME);
            }
            self.skip = true;
        } else if path.is_ident("rename") {
            let Some(name) = string(meta) else {
                return errors.add(meta, "expected a string: `rename = \"…\"`");
            };
            if self.rename.is_some() {
                errors.add(meta, "repeated attribute `rename`");
            } else if self.skip {
                errors.add(meta, SKIP_AND_RENAME);
            } else if name.value().is_empty() {
                errors.add(name, "the name of a field cannot be empty");
            } else if name.value().contains('.') {
                errors.add(
                    name,
                    "the name of a field cannot contain `.`, which separates the segments of a path",
                );
            }
            self.rename = Some(name.clone());
        } else {
            let found = path.to_token_stream();
            errors.add(path, format!("unknown attribute `{found}`: expected `skip` or `rename = \"…\"`"));
        }
    }
}

const SKIP_AND_RENAME: &str = "`skip` and `rename` exclude each other: a skipped field has no name";

fn string(meta: &Meta) -> Option<&LitStr> {
    match meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(string), .. }) => Some(string),
            _ => None,
        },
        _ => None,
    }
}

/// Collects errors, so that all of them are reported at once.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn add(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    fn refuse_attributes(&mut self, attributes: &[Attribute], place: &str) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("module")) {
            self.add(attribute, format!("`#[module(…)]` belongs on a field, not on a {place}"));
        }
    }

    fn none_or(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
