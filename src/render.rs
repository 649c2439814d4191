//! Draws scene instances with wgpu and takes ground truth from the id buffer.
