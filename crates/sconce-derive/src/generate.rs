//! From a checked description to the implementation.

use crate::parse::{Body, Field, Input};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Generics, Member, parse_quote};

/// Writes `impl Module`.
pub(crate) fn implementation(input: Input) -> TokenStream {
    let Input { name, generics, body } = input;
    let generics = with_bounds(generics, &body);
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let type_name = name.to_string();
    let type_name = type_name.strip_prefix("r#").unwrap_or(&type_name);
    let shared = statements(&body, &quote!());
    let exclusive = statements(&body, &quote!(mut));
    // The names begin with two underscores so that they neither meet the user's lifetimes nor count as unused.
    quote! {
        #[automatically_derived]
        impl #parameters ::sconce::Module for #name #arguments #conditions {
            fn fields<'__a>(
                &'__a self,
                __f: &mut dyn ::core::ops::FnMut(&str, &'__a dyn ::sconce::Module),
            ) {
                #shared
            }

            fn fields_mut<'__a>(
                &'__a mut self,
                __f: &mut dyn ::core::ops::FnMut(&str, &'__a mut dyn ::sconce::Module),
            ) {
                #exclusive
            }

            fn type_name(&self) -> &'static str {
                #type_name
            }
        }
    }
}

/// The body of `fields`, or with `mut` as `mutability` that of `fields_mut`.
fn statements(body: &Body, mutability: &TokenStream) -> TokenStream {
    match body {
        Body::Struct(fields) => fields
            .iter()
            .map(|field| {
                let span = span(field);
                let member = at(&field.member, span);
                call(field, quote_spanned!(span=> &#mutability self.#member))
            })
            .collect(),
        Body::Enum(variants) if variants.is_empty() => quote!(match *self {}),
        Body::Enum(variants) => {
            let arms = variants.iter().map(|variant| {
                let (ident, fields) = (&variant.ident, &variant.fields);
                let members = fields.iter().map(|field| &field.member);
                let bindings = (0..fields.len()).map(binding);
                let calls = fields.iter().enumerate().map(|(i, field)| {
                    let mut binding = binding(i);
                    binding.set_span(span(field));
                    call(field, binding)
                });
                quote!(Self::#ident { #(#members: #bindings,)* .. } => { #(#calls)* })
            });
            quote!(match self { #(#arms)* })
        }
    }
}

/// One call of the visitor, at the field's type, for that is where a type that is no `Module` is to be reported.
fn call(field: &Field, reference: impl ToTokens) -> TokenStream {
    let name = &field.name;
    quote_spanned!(span(field)=> __f(#name, #reference);)
}

fn binding(i: usize) -> Ident {
    format_ident!("__field{i}")
}

/// The place of the field's type, but resolving names like the rest of what is generated: the type may come from a
/// macro that has its own `self`.
fn span(field: &Field) -> Span {
    field.ty.span().resolved_at(Span::call_site())
}

fn at(member: &Member, span: Span) -> Member {
    let mut member = member.clone();
    match &mut member {
        Member::Named(ident) => ident.set_span(span.resolved_at(ident.span())),
        Member::Unnamed(index) => index.span = span.resolved_at(index.span),
    }
    member
}

/// Adds `T: Module` for each type parameter that occurs in the type of a shown field.
fn with_bounds(mut generics: Generics, body: &Body) -> Generics {
    let fields: Vec<&Field> = match body {
        Body::Struct(fields) => fields.iter().collect(),
        Body::Enum(variants) => variants.iter().flat_map(|variant| &variant.fields).collect(),
    };
    let used: Vec<Ident> = generics
        .type_params()
        .map(|parameter| parameter.ident.clone())
        .filter(|parameter| fields.iter().any(|field| occurs(parameter, field.ty.to_token_stream())))
        .collect();
    if !used.is_empty() {
        let conditions = generics.make_where_clause();
        conditions.predicates.extend(
            used.iter()
                .map(|parameter| -> syn::WherePredicate { parse_quote!(#parameter: ::sconce::Module) }),
        );
    }
    generics
}

/// Whether `parameter` occurs as a type of its own: neither `T::Item` nor `path::T` is meant.
fn occurs(parameter: &Ident, tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let colon = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    tokens.iter().enumerate().any(|(i, token)| match token {
        TokenTree::Group(group) => occurs(parameter, group.stream()),
        TokenTree::Ident(ident) => {
            ident == parameter && !(colon(i + 1) && colon(i + 2)) && !(i >= 2 && colon(i - 1) && colon(i - 2))
        }
        _ => false,
    })
}
