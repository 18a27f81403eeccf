//! Hands the methods of an object store that a wrapper leaves as they are to the store below.

use futures::future::BoxFuture;
use object_store::Result;

pub use bytes::Bytes;
pub use futures::stream::BoxStream;

/// What an asynchronous method of the seam returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// Stands in an `impl ObjectStore` and writes the named methods: each does what the store in the field
/// does, no more.
///
/// A method of the trait that is neither named nor written keeps the trait's default, which calls other
/// methods of the wrapper. The signatures are those that `async_trait` makes of the trait's, since it does
/// not see what a macro in its block becomes.
///
/// ```
/// use std::fmt;
/// use std::sync::Arc;
///
/// use tidelog_blob::delegate_object_store;
/// use tidelog_blob::object_store::path::Path;
/// use tidelog_blob::object_store::{GetOptions, GetResult, ObjectStore, Result};
///
/// /// Tells of each read.
/// #[derive(Debug)]
/// struct Talkative {
///     inner: Arc<dyn ObjectStore>,
/// }
///
/// impl fmt::Display for Talkative {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "talkative {}", self.inner)
///     }
/// }
///
/// #[async_trait::async_trait]
/// impl ObjectStore for Talkative {
///     async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
///         println!("reading `{location}`");
///         self.inner.get_opts(location, options).await
///     }
///
///     delegate_object_store!(
///         inner: put_opts, put_multipart_opts, delete_stream, list, list_with_delimiter, copy_opts
///     );
/// }
/// ```
#[macro_export]
macro_rules! delegate_object_store {
    ($inner:ident: $($method:ident),+ $(,)?) => {
        $($crate::delegate_object_store!(@$method $inner);)+
    };

    (@put_opts $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner put_opts ['a] (
            location: &'a $crate::object_store::path::Path,
            payload: $crate::object_store::PutPayload,
            options: $crate::object_store::PutOptions
        ) $crate::object_store::PutResult);
    };
    (@put_multipart_opts $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner put_multipart_opts ['a] (
            location: &'a $crate::object_store::path::Path,
            options: $crate::object_store::PutMultipartOptions
        ) Box<dyn $crate::object_store::MultipartUpload>);
    };
    (@get_opts $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner get_opts ['a] (
            location: &'a $crate::object_store::path::Path,
            options: $crate::object_store::GetOptions
        ) $crate::object_store::GetResult);
    };
    (@get_ranges $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner get_ranges ['a 'b] (
            location: &'a $crate::object_store::path::Path,
            ranges: &'b [::std::ops::Range<u64>]
        ) Vec<$crate::delegate::Bytes>);
    };
    (@list_with_delimiter $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner list_with_delimiter ['a] (
            prefix: Option<&'a $crate::object_store::path::Path>
        ) $crate::object_store::ListResult);
    };
    (@copy_opts $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner copy_opts ['a 'b] (
            from: &'a $crate::object_store::path::Path,
            to: &'b $crate::object_store::path::Path,
            options: $crate::object_store::CopyOptions
        ) ());
    };
    (@rename_opts $inner:ident) => {
        $crate::delegate_object_store!(@answer $inner rename_opts ['a 'b] (
            from: &'a $crate::object_store::path::Path,
            to: &'b $crate::object_store::path::Path,
            options: $crate::object_store::RenameOptions
        ) ());
    };

    (@delete_stream $inner:ident) => {
        $crate::delegate_object_store!(@stream $inner delete_stream (
            locations: $crate::delegate::BoxStream<
                'static,
                $crate::object_store::Result<$crate::object_store::path::Path>,
            >
        ) $crate::object_store::path::Path);
    };
    (@list $inner:ident) => {
        $crate::delegate_object_store!(@stream $inner list (
            prefix: Option<&$crate::object_store::path::Path>
        ) $crate::object_store::ObjectMeta);
    };
    (@list_with_offset $inner:ident) => {
        $crate::delegate_object_store!(@stream $inner list_with_offset (
            prefix: Option<&$crate::object_store::path::Path>,
            offset: &$crate::object_store::path::Path
        ) $crate::object_store::ObjectMeta);
    };

    (@answer $inner:ident $method:ident [$($life:lifetime)+] ($($arg:ident: $of:ty),+) $output:ty) => {
        fn $method<'me, $($life,)+ 'answer>(
            &'me self,
            $($arg: $of),+
        ) -> $crate::delegate::Answer<'answer, $output>
        where
            'me: 'answer,
            $($life: 'answer,)+
            Self: 'answer,
        {
            self.$inner.$method($($arg),+)
        }
    };
    (@stream $inner:ident $method:ident ($($arg:ident: $of:ty),+) $item:ty) => {
        fn $method(
            &self,
            $($arg: $of),+
        ) -> $crate::delegate::BoxStream<'static, $crate::object_store::Result<$item>> {
            self.$inner.$method($($arg),+)
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use async_trait::async_trait;
    use futures::TryStreamExt as _;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};

    #[derive(Debug, Default)]
    struct Through {
        inner: InMemory,
    }

    impl fmt::Display for Through {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "through {}", self.inner)
        }
    }

    #[async_trait]
    impl ObjectStore for Through {
        delegate_object_store!(
            inner: put_opts, put_multipart_opts, get_opts, get_ranges, delete_stream, list,
            list_with_offset, list_with_delimiter, copy_opts, rename_opts
        );
    }

    async fn names(store: &dyn ObjectStore, after: Option<&Path>) -> Vec<String> {
        let listing = match after {
            Some(offset) => store.list_with_offset(None, offset),
            None => store.list(None),
        };
        let mut names: Vec<String> = listing
            .map_ok(|object| object.location.to_string())
            .try_collect()
            .await
            .unwrap();
        names.sort();
        names
    }

    #[tokio::test]
    async fn every_method_does_what_the_store_below_does() {
        let store = Through::default();
        let [one, two, three] = ["a/1", "a/2", "b/3"].map(Path::from);
        store.put(&one, "tide".into()).await.unwrap();
        let mut upload = WriteMultipart::new(store.put_multipart(&two).await.unwrap());
        upload.write(b"log");
        upload.finish().await.unwrap();
        assert_eq!(names(&store.inner, None).await, ["a/1", "a/2"]);

        let parts = store.get_ranges(&one, &[0..1, 2..4]).await.unwrap();
        assert_eq!(parts, ["t", "de"]);
        store.copy(&one, &three).await.unwrap();
        assert_eq!(names(&store, None).await, ["a/1", "a/2", "b/3"]);
        assert_eq!(names(&store, Some(&one)).await, ["a/2", "b/3"]);

        store.rename(&two, &one).await.unwrap();
        assert_eq!(names(&store, None).await, ["a/1", "b/3"]);
        let body = store.get(&one).await.unwrap().bytes().await.unwrap();
        assert_eq!(body, "log");
        store.delete(&one).await.unwrap();
        let shallow = store.list_with_delimiter(None).await.unwrap();
        assert_eq!(shallow.common_prefixes, [Path::from("b")]);
    }
}
