//! The engine's picture as the journal writes it.

use bytes::Bytes;
use tandemmq_engine::{Picture, PictureWriter};
use tandemmq_journal::Image;
use tandemmq_model::Offset;

/// A picture on its way to the disk.
#[derive(Debug)]
pub(crate) struct EngineImage(PictureWriter);

impl EngineImage {
    pub(crate) fn boxed(picture: Picture) -> Box<dyn Image> {
        Box::new(Self(picture.writer()))
    }
}

impl Image for EngineImage {
    fn next_piece(&mut self) -> Option<Bytes> {
        self.0.next_piece()
    }

    fn live(&self, each: &mut dyn FnMut(Offset, u32)) {
        self.0.live(each);
    }
}
