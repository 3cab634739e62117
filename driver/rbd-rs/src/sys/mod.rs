//! What librados and librbd export, as the linker sees it: types, and one table of functions.
//!
//! Nothing here is safe to call without the rules of the header; the rest of the crate is what
//! makes it safe. `tests.rs` compares every line with the installed headers.

pub(crate) mod load;
pub(crate) mod rados;
pub(crate) mod rbd;
pub(crate) mod types;

#[cfg(test)]
mod tests;

/// One function of a C library, as this crate believes it to be.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// The exported symbol.
    pub(crate) name: &'static str,
    /// The major number of the Ceph release that introduced it (10, Jewel, also stands for
    /// anything older).
    pub(crate) since: u8,
    /// Whether a library without it is refused when it is loaded. The others are missed only when
    /// they are called.
    pub(crate) required: bool,
    /// The Rust text of each parameter's type, in order.
    pub(crate) parameters: &'static [&'static str],
    /// The Rust text of the type it returns; `()` for `void`.
    pub(crate) returns: &'static str,
}

/// Declares a library: a struct of function pointers, the function that resolves them, and the
/// list of [`Declaration`]s that the header test reads.
///
/// Each line is `since name(parameters) -> type;`. `required` symbols are plain fields, `optional`
/// ones are methods that give the pointer or [`Error::MissingFunction`](crate::Error).
macro_rules! library {
    (
        $(#[$doc:meta])*
        pub(crate) struct $library:ident ($file:literal) {
            required {
                $( $since:literal $name:ident ( $($par:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)?; )*
            }
            optional {
                $( $osince:literal $oname:ident ( $($opar:ident : $oty:ty),* $(,)? ) $(-> $oret:ty)?; )*
            }
        }
    ) => {
        $(#[$doc])*
        #[allow(missing_docs)]
        pub(crate) struct $library {
            $( pub(crate) $name: unsafe extern "C" fn($($ty),*) $(-> $ret)?, )*
            $( $oname: Option<unsafe extern "C" fn($($oty),*) $(-> $oret)?>, )*
        }

        impl $library {
            #[cfg(test)]
            /// Every function of this library that the crate knows.
            pub(crate) const DECLARATIONS: &'static [$crate::sys::Declaration] = &[
                $( $crate::sys::Declaration {
                    name: stringify!($name),
                    since: $since,
                    required: true,
                    parameters: &[$(stringify!($ty)),*],
                    returns: library!(@returns $($ret)?),
                }, )*
                $( $crate::sys::Declaration {
                    name: stringify!($oname),
                    since: $osince,
                    required: false,
                    parameters: &[$(stringify!($oty)),*],
                    returns: library!(@returns $($oret)?),
                }, )*
            ];

            /// Looks every symbol up.
            ///
            /// # Errors
            /// [`MissingFunction`](crate::Error::MissingFunction) for the first required symbol
            /// that is not there.
            #[allow(unused_variables, reason = "a library may have no optional part")]
            pub(crate) fn resolve(found: &$crate::sys::load::Opened) -> Result<Self, $crate::Error> {
                Ok(Self {
                    // SAFETY: the pointer is stored with the type of its declaration, which the
                    // header test holds against the C prototype of that name.
                    $( $name: unsafe { found.symbol(stringify!($name)) }.ok_or(
                        $crate::Error::MissingFunction {
                            library: $file,
                            function: stringify!($name),
                            since: $since,
                        },
                    )?, )*
                    // SAFETY: as above.
                    $( $oname: unsafe { found.symbol(stringify!($oname)) }, )*
                })
            }

            $(
                #[doc = concat!("`", stringify!($oname), "`, if the loaded library has it.")]
                ///
                /// # Errors
                /// [`MissingFunction`](crate::Error::MissingFunction) if it has not.
                #[allow(clippy::type_complexity, reason = "it is the C prototype")]
                pub(crate) fn $oname(
                    &self,
                ) -> Result<unsafe extern "C" fn($($oty),*) $(-> $oret)?, $crate::Error> {
                    self.$oname.ok_or($crate::Error::MissingFunction {
                        library: $file,
                        function: stringify!($oname),
                        since: $osince,
                    })
                }
            )*
        }
    };
    (@returns) => { "()" };
    (@returns $ret:ty) => { stringify!($ret) };
}

/// Declares C structs, and lists their fields for the header test.
macro_rules! c_structs {
    ( $( $name:ident { $( $field:ident : $ty:ty ),* $(,)? } )* ) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the header.")]
            #[repr(C)]
            #[derive(Clone, Copy)]
            #[allow(non_camel_case_types, missing_docs)]
            pub(crate) struct $name { $( pub(crate) $field: $ty ),* }
        )*

        #[cfg(test)]
        /// Name and fields (name, type) of every struct.
        pub(crate) const STRUCTS: &[(&str, &[(&str, &str)])] = &[
            $( (stringify!($name), &[ $( (stringify!($field), stringify!($ty)) ),* ]) ),*
        ];
    };
}

/// Declares the enumerators that the crate uses, and lists them for the header test.
macro_rules! c_constants {
    ( $( $name:ident = $value:literal; )* ) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the header.")]
            pub(crate) const $name: u32 = $value;
        )*

        #[cfg(test)]
        /// Name and value of every enumerator.
        pub(crate) const CONSTANTS: &[(&str, u32)] = &[ $( (stringify!($name), $value) ),* ];
    };
}

pub(crate) use {c_constants, c_structs, library};
